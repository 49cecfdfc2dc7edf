"""The index on a Meilisearch server (1.41 or newer), over its HTTP API.

Everything goes through one `httpx.AsyncClient`, administration too: the official client is
synchronous, has no time-outs and is not safe in threads.
"""

from search.meili.keys import make_keys
from search.meili.runner import INDEX, Meili

__all__ = ["INDEX", "Meili", "make_keys"]
