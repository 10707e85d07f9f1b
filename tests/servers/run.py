"""What one test process has for itself: a state folder, a Valkey, a database, and an environment.

Under xdist the controller starts one PostgreSQL for all; each worker has a Valkey and a database of its own.
"""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mirroring.stack import valkey
from tests import trial
from tests.servers import postgres

# Variables of the product which a developer may have set; a test must see none of them.
OURS = (
    "MIRRORING_",
    "REDIS_URL",
    "DATABASE_URL",
    "IMPORT_SLOTS",
    "WEB_",
    "FLOWER_",
    "PUBLIC_URL",
    "SECRET_KEY",
    "GIT_",
    "INCIDENTS_",
    "SLACK_",
    "FLAG_",
    "EXTRA_FLAG",
    "ALLOW_PRIVATE_UPSTREAMS",
)

LOOPBACK = "127.0.0.0/8,::1/128"
"""ALLOW_PRIVATE_UPSTREAMS of every product that a test starts: the upstreams of the tests are on this machine."""


@dataclass
class Run:
    folder: Path
    server: valkey.Valkey | None = None
    database: postgres.Postgres | None = None

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def stop(self) -> None:
        if self.server:
            valkey.stop(self.server)
        if self.database:
            postgres.stop(self.database)
        shutil.rmtree(self.folder, ignore_errors=True)


def begin() -> Run:
    """Make the folder of this process, and forget what the developer's shell has set.

    Nothing is set here: xdist's workers inherit the controller's environment.
    """
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    # A short path, so that sockets fit; passable, since root hands PostgreSQL to another user.
    run = Run(Path(tempfile.mkdtemp(prefix="mirroring-")))
    run.folder.chmod(0o711)
    run.state.mkdir(mode=0o700)
    return run


def enter(run: Run, *, database_url: str | None) -> None:
    """Start the Valkey of this process and point the settings to what is its own."""
    run.server = valkey.start(run.folder / "valkey")
    os.environ["REDIS_URL"] = run.server.url
    os.environ["MIRRORING_STATE"] = str(run.state)
    os.environ["ALLOW_PRIVATE_UPSTREAMS"] = LOOPBACK
    os.environ["EXTRA_FLAG_DEFINITIONS"] = str(trial.FOLDER)
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    if database_url:
        os.environ["DATABASE_URL"] = database_url


def start_postgres(run: Run) -> str:
    """Start PostgreSQL and return its URL."""
    folder = run.folder / "postgres"
    folder.mkdir()
    run.database = postgres.start(folder)
    return run.database.url
