"""Files that nobody but us may read."""

import os
import secrets
from pathlib import Path
from typing import IO

MODE = 0o600


def write(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def append_bytes(path: Path) -> IO[bytes]:
    """Open a file, made if need be, for adding at its end."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, MODE), "ab")


def update(path: Path) -> IO[str]:
    """Open a file, made if need be, for reading and writing."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, MODE), "r+")
