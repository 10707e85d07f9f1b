"""A throw-away database: this thread's models are read and written there while a simulation runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, models

from mirroring.models import (
    Credential,
    Flag,
    Group,
    Host,
    ImportAttempt,
    ImportState,
    Mirror,
    SchedulingSettings,
)

ALIAS = "simulation"
NEEDED: tuple[type[models.Model], ...] = (
    Flag,
    SchedulingSettings,
    Group,
    Host,
    Credential,
    Mirror,
    ImportState,
    ImportAttempt,
)

_here = threading.local()


class Router:
    """Sends what a simulating thread asks to the throw-away database, and says nothing in any other."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        """Return the simulation's database within one."""
        return ALIAS if getattr(_here, "simulates", False) else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Keep migrations out: the tables are made as the models are."""
        return False if db == ALIAS else None


@contextmanager
def throw_away() -> Iterator[None]:
    """Make an empty database in memory and have this thread use it; it is gone afterwards."""
    described = {"default": {}, ALIAS: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    connections.settings[ALIAS] = connections.configure_settings(described)[ALIAS]
    connection = connections[ALIAS]
    try:
        with connection.schema_editor() as editor:
            for model in NEEDED:
                editor.create_model(model)
        _here.simulates = True
        yield
    finally:
        _here.simulates = False
        connection.close()
        del connections[ALIAS]
        del connections.settings[ALIAS]
