"""Real deployments: each a web process, and workers and beat where asked for, with its own state folder, database,
Valkey and revision."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import requests

from mirroring.stack import valkey
from tests.flow.processes import Stack
from tests.web.server import WebServer, serve

ROOT = Path(__file__).resolve().parents[2]
OURS = ("DATABASE_URL", "REDIS_URL", "MIRRORING_STATE", "DJANGO_SETTINGS_MODULE")


@dataclass(frozen=True)
class Deployment:
    """One running deployment."""

    name: str
    environment: dict[str, str]
    web: WebServer
    redis: valkey.Valkey
    stack: Stack

    def manage(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command beside its web process."""
        return manage(self.environment, *words, check=check)

    def token(self, name: str, *scopes: str) -> str:
        """Issue a token of its API."""
        asked = [word for scope in scopes for word in ("--scope", scope)]
        return self.manage("token", "issue", name, *asked).stdout.strip()

    def flag(self, name: str) -> dict[str, Any]:
        """Ask its command line for a flag."""
        return json.loads(self.manage("feature", "get", name, "--json").stdout)

    def start(self, *queues: str) -> None:
        """Start the workers of some queues, or `beat`, and wait until they have announced themselves."""
        self.stack.start(*queues)

    def shell(self, code: str) -> str:
        """Run Python in its settings and return what it printed."""
        return self.manage("shell", "--verbosity", "0", "--command", code).stdout

    def client(self) -> redis.Redis:
        """Open a connection to its Valkey."""
        return redis.Redis.from_url(self.redis.url, decode_responses=True)

    def get(self, path: str, token: str) -> Any:
        """Ask its API."""
        answer = requests.get(f"{self.web.url}/api/{path}", headers={"PRIVATE-TOKEN": token}, timeout=15)
        answer.raise_for_status()
        return answer.json()


def manage(
    environment: dict[str, str], *words: str, check: bool = True
) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    if check and done.returncode:
        raise AssertionError(f"{words} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done


@contextlib.contextmanager
def deployed(name: str, folder: Path, **variables: str) -> Iterator[Deployment]:
    """Run a deployment called `name` as long as the block lasts; more environment as keywords."""
    state = folder / "state"
    state.mkdir(parents=True)
    server = valkey.start(folder / "v")
    environment = {key: value for key, value in os.environ.items() if key not in OURS}
    environment |= {
        "MIRRORING_STATE": str(state),
        "MIRRORING_ENVIRONMENT": name,
        "REDIS_URL": server.url,
        "FLAG_STABLE_SECONDS": "0",
        "LOG_LEVEL": "WARNING",
        **variables,
    }
    stack = Stack(state, lambda **more: environment | more, lambda: _workers(server.url))
    try:
        manage(environment, "migrate", "--verbosity", "0")
        with serve(environment, log=folder / "web.log", threads=4) as web:
            yield Deployment(name, environment, web, server, stack)
    finally:
        stack.stop()
        valkey.stop(server)


def _workers(url: str) -> list[Any]:
    from mirroring.tracker.job_tracker import JobTracker

    with redis.Redis.from_url(url, decode_responses=True) as client:
        return JobTracker(client).workers()
