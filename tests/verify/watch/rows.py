"""Read the product's tables directly, several times a second, and write down what has changed."""

import re
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psycopg

from tests.verify.watch.log import Log

PAUSE = 0.2
LOCK_PAUSE = 0.5
LOCK_PATIENCE = 1.0
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?")
"""How Django keeps a time in SQLite."""
STATE = (
    "mirror_id",
    "epoch",
    "status",
    "active",
    "hard_failed",
    "COALESCE(import_due_at, check_due_at)",  # It rests on one of the two lines, or is in flight.
    "claimed_at",
    "claim_expires_at",
)
ATTEMPT = ("mirror_id", "epoch", "worker", "started_at", "ended_at", "outcome", "error")
Errors = (sqlite3.Error, psycopg.Error)


class Tables:
    """A read-only look at the database, opened anew after it was away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the connection."""
        if self._connection is not None:
            with suppress(*Errors):
                self._connection.close()
        self._connection = None

    def rows(self, query: str) -> list[list[Any]]:
        """Run one query; times come as seconds since 1970."""
        try:
            if self._connection is None:
                self._connection = self._open()
            found = self._connection.execute(query).fetchall()
        except Errors:
            self.close()
            raise
        return [[plain(value) for value in row] for row in found]

    def _open(self) -> Any:
        if self._url.startswith("sqlite:///"):
            path = self._url.removeprefix("sqlite:///")
            return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1, isolation_level=None)
        return psycopg.connect(self._url, autocommit=True, connect_timeout=2)

    def states(self) -> list[list[Any]]:
        """Return all state rows, their columns as in STATE."""
        return self.rows(f"SELECT {', '.join(STATE)} FROM mirroring_importstate ORDER BY mirror_id")

    def attempts(self) -> list[list[Any]]:
        """Return all attempts, their columns as in ATTEMPT."""
        return self.rows(f"SELECT {', '.join(ATTEMPT)} FROM mirroring_importattempt ORDER BY id")

    def capacity(self) -> int:
        """Return the capacity setting."""
        found = self.rows("SELECT mirror_max_capacity FROM mirroring_schedulingsettings")
        return int(found[0][0]) if found else 100

    def state_of(self, mirror: int) -> list[Any]:
        """Return one state row."""
        return self.rows(
            f"SELECT {', '.join(STATE)} FROM mirroring_importstate WHERE mirror_id = {mirror:d}"
        )[0]


def lock_watch(path: Path, database_url: str, ended: threading.Event) -> None:
    """On SQLite, write down when nobody could write: its one write lock was held by a process that does not go on."""
    if not database_url.startswith("sqlite:///"):
        return
    log = Log(path)
    while not ended.wait(LOCK_PAUSE):
        began = time.time()
        while not ended.is_set() and not _lock_is_free(database_url):
            pass
        if time.time() - began > LOCK_PATIENCE:
            log.write("locked", since=began)
    log.close()


def _lock_is_free(database_url: str) -> bool:
    """Take the write lock for an instant."""
    path = database_url.removeprefix("sqlite:///")
    try:
        with closing(sqlite3.connect(path, timeout=LOCK_PATIENCE, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    return True


def plain(value: Any) -> Any:
    """Return a value fit for JSON: SQLite keeps times as text in UTC, and truth as a number."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, str) and TIME.fullmatch(value):
        return datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()
    return value


def watch(path: Path, database_url: str, ended: threading.Event) -> None:
    """Write the rows that changed since the last look, and the capacity setting; `down` while the database is away."""
    log, last = Log(path), {}
    with Tables(database_url) as tables:
        while not ended.wait(PAUSE):
            try:
                capacity, states = tables.capacity(), tables.states()
            except Errors:
                log.write("rows", down=True)
                continue
            changed = [state for state in states if last.get(state[0]) != state]
            last.update({state[0]: state for state in changed})
            log.write("rows", capacity=capacity, changed=changed)
    log.close()


def write_attempts(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Write all attempts, a line each."""
    log = Log(path)
    for row in rows:
        log.write("attempt", **dict(zip(ATTEMPT, row, strict=True)))
    log.close()
