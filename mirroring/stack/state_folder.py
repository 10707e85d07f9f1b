"""What a stack keeps about itself in the state folder: who owns the folder, its passwords, and its addresses."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from mirroring.stack import private_files
from mirroring.stack.children import PROC, alive, descendants, end
from mirroring.stack.errors import StackError

LEFTOVER_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class StateFolder:
    """The state folder, held by this process."""

    path: Path
    _lock: IO[str] = field(repr=False)

    @property
    def card(self) -> Path:
        """The file that tells other commands where the running stack is."""
        return self.path / "stack.json"

    def write_card(self, facts: Mapping[str, object]) -> None:
        """Publish the running stack; readers see the old or the new text, never half of one."""
        private_files.write(self.card, json.dumps(facts, indent=2) + "\n")

    def remove_card(self) -> None:
        """Say that no stack runs any more."""
        self.card.unlink(missing_ok=True)

    def note_children(self, pids: Mapping[str, int]) -> None:
        """Write down our children beside the lock, for whoever comes after a kill."""
        self._lock.seek(0)
        self._lock.truncate()
        json.dump({"pid": os.getpid(), "children": dict(pids)}, self._lock)
        self._lock.flush()

    def secret(self, name: str) -> str:
        """Return a random password that is kept in a file only we may read; make it at the first call."""
        path = self.path / name
        if not path.exists():
            private_files.write(path, secrets.token_urlsafe(15) + "\n")
        return path.read_text().strip()


@contextmanager
def claim(path: Path) -> Iterator[StateFolder]:
    """Hold the state folder while a stack runs on it.

    A second stack is refused. What a killed stack has left running is ended first.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with private_files.update(path / "stack.lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"A stack already runs on {path} (process {_noted(lock).get('pid', 'unknown')}): "
                "stop it first, or set MIRRORING_STATE to another folder."
            ) from None
        folder = StateFolder(path, lock)
        _end_leftovers(path, _noted(lock))
        folder.remove_card()
        folder.note_children({})
        yield folder
        folder.remove_card()
        folder.note_children({})


def _noted(lock: IO[str]) -> dict[str, object]:
    lock.seek(0)
    try:
        noted = json.load(lock)
    except ValueError:
        return {}
    return noted if isinstance(noted, dict) else {}


def _end_leftovers(path: Path, noted: dict[str, object]) -> None:
    children = noted.get("children")
    pids = [int(pid) for pid in children.values()] if isinstance(children, dict) else []
    ours = [pid for pid in pids if alive(pid) and _works_on(pid, path)]
    below = [pid for parent in ours for pid in descendants(parent)]
    end([*ours, *below], grace=LEFTOVER_GRACE_SECONDS)


def _works_on(pid: int, path: Path) -> bool:
    """Tell whether a process was started for this folder: its number may long be somebody else's."""
    with suppress(OSError):
        return os.fsencode(f"MIRRORING_STATE={path}") in (PROC / str(pid) / "environ").read_bytes().split(
            b"\0"
        )
    return False
