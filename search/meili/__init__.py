"""The index on a Meilisearch server (1.41 or newer), over its HTTP API.

entries -> asking -> runner      documents as the server keeps them; queries; the engine
breaker -> server -> writing     one call; one index
keys                             the least keys, and tokens for phones
"""

from search.meili.entries import INDEX
from search.meili.keys import Keys, make_keys
from search.meili.runner import Meili

__all__ = ["INDEX", "Keys", "Meili", "make_keys"]
