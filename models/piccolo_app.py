"""The one Piccolo app: every table, one linear migration history."""

from piccolo.conf.apps import AppConfig

from models import migrate, tables

APP_CONFIG = AppConfig(
    app_name=migrate.APP,
    migrations_folder_path=str(migrate.FOLDER),
    table_classes=tables.TABLES,
    migration_dependencies=[],
    commands=[],
)
