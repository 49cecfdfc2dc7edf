"""`python -m tests.api.golden > tests/api/openapi.json`: the document, for the golden file."""

import sys

from api import app
from api.documentation import document
from models import settings

if __name__ == "__main__":
    sys.stdout.write(document.text(document.of(app.create_app(settings.load({})))))
