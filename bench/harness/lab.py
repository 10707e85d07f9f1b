"""The servers of a measurement: a private Valkey and a database of its own, set up before Django reads its settings."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
import redis

from mirroring.stack import valkey
from tests.servers import postgres, run

Database = Literal["sqlite", "postgresql"]

# As a careful operator of a small machine would set it; everything reaches the disk.
TUNING = (
    "shared_buffers=1GB",
    "max_wal_size=4GB",
    "random_page_cost=1.1",
    "max_connections=200",
    "checkpoint_timeout=15min",
)


@dataclass(frozen=True)
class Lab:
    """What a row has for itself."""

    folder: Path
    redis_url: str
    redis: "redis.Redis"
    database: Database
    database_url: str

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the environment of a process of the product on these servers."""
        return {**os.environ, **changes}

    def bare(self) -> Any:
        """Return a connection of the bare driver, set as ours is. The end of the process closes it."""
        if self.database == "postgresql":
            return psycopg.connect(self.database_url, autocommit=True)
        from django.conf import settings

        connection = sqlite3.connect(settings.DATABASES["default"]["NAME"], timeout=20)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def new_database(self, name: str) -> str:
        """Make another, empty PostgreSQL database on the same server, and return its URL."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.database_url.rpartition("/")[0] + f"/{name}"


@contextmanager
def lab(database: Database = "postgresql") -> Iterator[Lab]:
    """Start the servers, migrate, and stop and remove everything at the end. Once a process: Django is set up once."""
    own = run.begin()
    with ExitStack() as stack:
        stack.callback(own.stop)
        url = ""
        if database == "postgresql":
            (own.folder / "postgres").mkdir()
            own.database = postgres.start(own.folder / "postgres", settings=TUNING)
            url = own.database.url.rpartition("/")[0] + "/postgres"
        own.server = valkey.start(own.folder / "valkey")
        os.environ.update(
            REDIS_URL=own.server.url,
            MIRRORING_STATE=str(own.state),
            DJANGO_SETTINGS_MODULE="config.settings",
            LOG_LEVEL="WARNING",
            ALLOW_PRIVATE_UPSTREAMS="127.0.0.0/8,::1/128",
        )
        if url:
            os.environ["DATABASE_URL"] = url
        _set_up_django()
        client = stack.enter_context(redis.Redis.from_url(own.server.url, decode_responses=True))
        yield Lab(own.folder, own.server.url, client, database, url)
        _close_connections()


def _set_up_django() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def _close_connections() -> None:
    from django.db import connections

    connections.close_all()


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)
