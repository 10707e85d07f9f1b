"""Child processes: how they are tied to their parent, recognised again, and ended."""

import os
import shutil
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
GRACE_SECONDS = 5.0


def dies_with_parent() -> tuple[str, ...]:
    """Return the words that go before a command so that it ends when we are killed.

    The kernel watches the thread that starts the child: start children from the main thread only.
    Where `setpriv` is missing (other systems than Linux) the answer is empty, and a leftover is found
    by its pid file at the next start.
    """
    setpriv = shutil.which("setpriv") if PROC.is_dir() else None
    return (setpriv, "--pdeathsig", "TERM", "--") if setpriv else ()


def end_leftover(pid_file: Path, *, marker: str) -> bool:
    """End the process that a pid file names, if its command line still holds `marker`."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return False
    if marker not in command_line(pid):
        return False
    end([pid], grace=GRACE_SECONDS)
    return True


def command_line(pid: int) -> str:
    """Return the command line of a process; empty if there is none."""
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    return os.fsdecode(raw.replace(b"\0", b" ")).strip()


def children(pid: int) -> list[int]:
    """Return the ids of the processes whose parent is this one."""
    return _by_parent().get(pid, [])


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below one, parents before their children."""
    below, found, ahead = _by_parent(), [], [pid]
    while ahead:
        next_ones = below.get(ahead.pop(0), [])
        found += next_ones
        ahead += next_ones
    return found


def end(pids: Iterable[int], *, grace: float) -> None:
    """Ask processes to end, and kill those that have not after `grace` seconds."""
    waiting = list(pids)
    _signal(waiting, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while waiting and time.monotonic() < deadline:
        waiting = [pid for pid in waiting if alive(pid)]
        time.sleep(0.02)
    _signal(waiting, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Tell whether a process still runs; one that only waits to be reaped does not."""
    try:
        state = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"


def _by_parent() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            # The name of a program may hold spaces and parentheses; the last one closes it.
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            found.setdefault(parent, []).append(int(folder.name))
    return found


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
