"""The naive arm: what one would write first. Celery's acks_late, a plain SET as tracker (GitLab's), and no leases.

A job adds itself to the set when it starts and removes itself when it ends; the scheduler fills up to the capacity
by the size of the set. NAIVE_REDIS and NAIVE_FOLDER come from `naive_arm.py`, which kills the workers.
"""

import os
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from celery import Celery

REDIS_URL = os.environ.get("NAIVE_REDIS", "redis://127.0.0.1:1/0")
FOLDER = Path(os.environ.get("NAIVE_FOLDER", "."))
TRACKER = "tracker"
DELAY = 2.0
REFSPECS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")

app = Celery("naive", broker=REDIS_URL)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    worker_hijack_root_logger=False,
)


def database() -> sqlite3.Connection:
    """Open the table of mirrors."""
    connection = sqlite3.connect(FOLDER / "naive.sqlite3", timeout=20, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    return connection


def make_table(mirrors: dict[str, str]) -> None:
    """Make the table, every mirror due now."""
    connection = database()
    connection.execute(
        "CREATE TABLE mirror (name PRIMARY KEY, url, status, due_at, changed_at, imports DEFAULT 0)"
    )
    rows = [(name, url, "finished", 0.0, 0.0) for name, url in mirrors.items()]
    connection.executemany(
        "INSERT INTO mirror (name, url, status, due_at, changed_at) VALUES (?, ?, ?, ?, ?)", rows
    )
    connection.close()


def move(name: str, status: str, *, due_at: float | None = None) -> None:
    """Write a mirror's status."""
    connection, now = database(), time.time()
    connection.execute("UPDATE mirror SET status = ?, changed_at = ? WHERE name = ?", (status, now, name))
    if due_at is not None:
        connection.execute(
            "UPDATE mirror SET due_at = ?, imports = imports + 1 WHERE name = ?", (due_at, name)
        )
    connection.close()


@app.task(bind=True, name="naive.update_mirror")
def update_mirror(self: Any, name: str, url: str) -> None:
    """Import one mirror."""
    tracker = redis.Redis.from_url(REDIS_URL)
    tracker.sadd(TRACKER, self.request.id)
    try:
        move(name, "started")
        fetch(FOLDER / "repositories" / f"{name}.git", url)
    finally:
        move(name, "finished", due_at=time.time() + DELAY)
        tracker.srem(TRACKER, self.request.id)


def fetch(repository: Path, url: str) -> None:
    """Fetch as one would by hand."""
    if not repository.exists():
        subprocess.run(["git", "init", "--quiet", "--bare", repository], check=False)
    command = ["git", f"--git-dir={repository}", "fetch", "--quiet", "--prune", "--no-tags", url, *REFSPECS]
    subprocess.run(command, check=False, timeout=20, stderr=subprocess.DEVNULL)


def schedule(capacity: int, going_on: Callable[[], bool]) -> None:
    """Fill the free capacity with due mirrors, twice a second."""
    tracker, connection = redis.Redis.from_url(REDIS_URL), database()
    due = "SELECT name, url FROM mirror WHERE status = 'finished' AND due_at <= ? ORDER BY due_at LIMIT ?"
    while going_on():
        try:
            free = capacity - int(tracker.scard(TRACKER))  # type: ignore[arg-type]
            for name, url in connection.execute(due, (time.time(), max(0, free))).fetchall():
                move(name, "scheduled")
                update_mirror.apply_async((name, url), retry=False)
        except (redis.RedisError, app.connection().recoverable_connection_errors):  # type: ignore[misc]
            pass
        time.sleep(0.5)
    connection.close()
