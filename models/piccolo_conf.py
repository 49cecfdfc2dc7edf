"""Where Piccolo looks for its engine and its app: always the one that is in use."""

from piccolo.conf.apps import AppRegistry

from models import engine

APP_REGISTRY = AppRegistry(apps=["models.piccolo_app"])


def __getattr__(name: str) -> object:
    if name == "DB":
        return engine.current()
    raise AttributeError(name)
