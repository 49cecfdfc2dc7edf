"""`python -m api.documentation > tests/api/openapi.json`: the document, for the golden file."""

import sys

from api import app
from api.documentation import document
from models import settings

sys.stdout.write(document.text(document.of(app.create_app(settings.load({})))))
