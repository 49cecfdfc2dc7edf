"""`python -m api …`: the program."""

import gc
import sys

# Of what is made while the program loads nothing is garbage: looking for it, again and again, is a
# tenth of the start.
gc.disable()
from api.cli import main  # noqa: E402

gc.freeze()
gc.enable()
sys.exit(main(sys.argv[1:]))
