"""The demo town: Qiaobei, its neighbours and Zhanggong, in two languages, the same everywhere.

`town.town(today)` makes it, `load()` writes it through the verbs that callers use. The texts are
data: `stories.json` and `needs.json` by hand, `neighbourhood.json` for what is drawn.

`settle(size)` writes a synthetic city of up to a million offerings instead, straight into the
tables.
"""

from models.demo.city import MOST
from models.demo.loader import load, present, reset, wanted
from models.demo.settling import settle
from models.demo.town import PASSWORD, PEOPLE

LOGINS = tuple(person.login for person in PEOPLE)

__all__ = ["LOGINS", "MOST", "PASSWORD", "PEOPLE", "load", "present", "reset", "settle", "wanted"]
