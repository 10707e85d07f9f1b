"""The keys that secrets are sealed by: CREDENTIAL_KEYS, or a file of mode 0600 in the state folder.

The first key seals, every key opens. The file is read at each use, so that a rotation is seen by every process.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from mirroring.rules import sealing

HEADER = "# Keys of the credentials, the newest first. Without them no credential can be opened: keep a copy elsewhere."


class KeysUnusable(Exception):
    """The list of keys cannot be used; the message says what to do."""


def from_environment() -> bool:
    """Say whether the keys are given by the environment, where this program cannot change them."""
    return bool(settings.CREDENTIAL_KEYS)


def read() -> list[bytes]:
    """Return the keys, the one that seals first. The file is made where there is none. Raise KeysUnusable."""
    if from_environment():
        return _read(list(settings.CREDENTIAL_KEYS), source="CREDENTIAL_KEYS")
    path = _path()
    try:
        if not path.exists():
            _make(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeysUnusable(f"{path} may be read by others: chmod 600 it, then rotate the keys")
        lines = path.read_text().splitlines()
    except OSError as error:
        raise KeysUnusable(f"The keys in {path} cannot be read: {error.strerror}") from None
    return _read([line for line in lines if line.strip() and not line.startswith("#")], source=str(path))


def add_key() -> None:
    """Put a new key first in the file."""
    read()
    path = _path()
    _write(path, [sealing.new_key(), *_lines(path)])


def forget_all_but(names: set[str]) -> int:
    """Take the keys out of the file that `names` does not name, and return how many there were."""
    path = _path()
    lines = _lines(path)
    kept = [line for line in lines if sealing.key_id(sealing.read_key(line)) in names]
    _write(path, kept)
    return len(lines) - len(kept)


def _path() -> Path:
    return Path(settings.CREDENTIAL_KEYS_FILE)


def _read(texts: list[str], *, source: str) -> list[bytes]:
    if not texts:
        raise KeysUnusable(f"{source} holds no key: restore it from a copy")
    try:
        return [sealing.read_key(text) for text in texts]
    except sealing.BadKey as error:
        raise KeysUnusable(f"{source} cannot be used: {error}") from None


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]


def _make(path: Path) -> None:
    """Make the file with a first key; of several processes that do, one wins."""
    draft = _draft(path, [sealing.new_key()])
    with suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()


def _write(path: Path, lines: list[str]) -> None:
    _draft(path, lines).replace(path)


def _draft(path: Path, lines: list[str]) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join([HEADER, *lines]) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return draft
