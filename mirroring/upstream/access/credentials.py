"""How a credential gets from its row to one git process, and to nobody else.

A password goes through a pipe that git's children inherit: it is in no argument, no environment, no configuration and
no file. An SSH key is a file of mode 0600 in a folder of its own, in memory where the machine has such a place, that
goes with the hand-over, or, should this process be killed, by the janitor.
"""

import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from mirroring.upstream.policy.urls import UpstreamURL

logger = logging.getLogger(__name__)

ASKPASS = Path(__file__).with_name("askpass.sh")
ANSWERS = 4
"""git asks twice for one connection: for the name and for the password."""

IN_MEMORY = Path("/dev/shm")  # noqa: S108  (the folder made in it is private)
KEY_FOLDER = "mirroring-key-"
YOUNG = timedelta(minutes=1)
"""A folder without a lock that is this young may be about to get it."""


class SecretKind(StrEnum):
    """How a secret is handed over."""

    BASIC = "basic"
    SSH = "ssh"


@dataclass(frozen=True)
class Secret:
    """One secret in clear, for one hand-over. `valid_until`: a job that uses it must have ended by then."""

    kind: SecretKind
    username: str = ""
    password: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    valid_until: datetime | None = None

    def __reduce__(self) -> str:
        """Refuse to be put into a message, a cache or a file."""
        raise TypeError("A secret is not to be stored or sent: pass the credential's id")


@dataclass(frozen=True)
class Handover:
    """What one git process is started with so that it can use a secret."""

    environment: dict[str, str] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()
    ssh_key: Path | None = None


@contextmanager
def handed_over(secret: Secret | None, *, url: UpstreamURL) -> Iterator[Handover]:
    """Have a secret ready for one git process that contacts `url`, and take it away afterwards."""
    if secret is None:
        yield Handover()
    elif secret.kind is SecretKind.SSH:
        with _key_file(secret.private_key) as path:
            yield Handover(ssh_key=path)
    else:
        with _pipe(f"{url.scheme}://{url.host}", secret.username, secret.password) as reader:
            environment = {"GIT_ASKPASS": str(ASKPASS), "MIRRORING_ASKPASS_FD": str(reader)}
            yield Handover(environment=environment, pass_fds=(reader,))


@contextmanager
def _pipe(*lines: str) -> Iterator[int]:
    """Yield the end of a pipe from which the lines can be read a few times."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        os.write(writer, "".join(f"{line}\n" for line in lines).encode() * ANSWERS)
        os.close(writer)
        yield reader
    finally:
        os.close(reader)


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a folder that nobody else can read, in memory where that is possible. It is locked while it is in use."""
    folder = Path(tempfile.mkdtemp(prefix=KEY_FOLDER, dir=_place()))
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


@contextmanager
def _key_file(text: str) -> Iterator[Path]:
    """Yield a private key as a file that nobody else can read."""
    with private_folder() as folder:
        path = folder / "key"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        yield path


def _place() -> Path:
    """Return the folder for keys: in memory where there is such a place."""
    if IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK | os.X_OK):
        return IN_MEMORY
    return Path(tempfile.gettempdir())


def sweep_keys(*, older_than: timedelta = YOUNG) -> int:
    """Remove the keys that killed processes left behind, and return how many there were."""
    swept = 0
    for folder in _place().glob(f"{KEY_FOLDER}*"):
        with suppress(OSError):  # Another worker sweeps too, or the folder is another user's.
            if (
                folder.stat().st_uid == os.geteuid()
                and folder.stat().st_mtime < time.time() - older_than.total_seconds()
            ):
                swept += _remove_unlocked(folder)
    if swept:
        logger.warning("keys of killed processes removed", extra={"keys": swept})
    return swept


def _remove_unlocked(folder: Path) -> bool:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        # The kernel drops a lock with its holder: who can take it has found a folder that nobody uses.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(handle)
