"""Deleting folders that an upstream had a say in: a ref name of two thousand parts is a folder as deep."""

import itertools
import os
from contextlib import suppress
from pathlib import Path


def remove(folder: Path) -> None:
    """Delete a folder of any depth, as far as the system lets us. No link is followed.

    `shutil.rmtree` calls itself at each level, and fails at a depth that any upstream can have git make. Here what lies
    deeper is moved up before it is emptied, so that no path gets longer.
    """
    numbers = itertools.count()
    ahead, emptied = [folder], []
    while ahead:
        inside = ahead.pop()
        for entry in _entries(inside):
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                ahead.append(path if inside == folder else _up(path, folder, numbers))
            else:
                with suppress(OSError):
                    path.unlink()
        emptied.append(inside)
    for each in reversed(emptied):
        with suppress(OSError):
            each.rmdir()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _up(path: Path, top: Path, numbers: "itertools.count[int]") -> Path:
    """Move a folder to the top level under a name that nothing there has; where that fails it stays where it is."""
    try:
        return path.rename(top / f".removing-{os.getpid()}-{next(numbers)}")
    except OSError:
        return path
