"""The OpenAPI 3.1 document and the page that shows it, both from our own files.

`document.of(app)` reads the application's own handlers and types; `tables` and `examples.json`
add what those cannot say.
"""

from api.documentation.page import HANDLERS

__all__ = ["HANDLERS"]
