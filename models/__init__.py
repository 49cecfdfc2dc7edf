"""What the community knows, and the functions that change it."""

import os

# Piccolo finds its configuration through this variable; ours has only one place.
os.environ.setdefault("PICCOLO_CONF", "models.piccolo_conf")
