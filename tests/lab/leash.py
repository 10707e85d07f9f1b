"""Run a command that cannot outlive us: it and all its descendants end when our standard input does.

    python -m tests.lab.leash --grace SECONDS --report FILE -- COMMAND...

When standard input ends, or on SIGTERM, the command gets SIGTERM and, after the grace, everything below it
SIGKILL. Orphans of the command come to us (we are their subreaper), so none is missed. The report is a JSON
object: the command's exit code and the command lines of what was still running after it had ended.
"""

import argparse
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

PR_SET_CHILD_SUBREAPER = 36
# Time for processes that are just ending, after their parent has.
SETTLING_SECONDS = 1.0


def main() -> None:
    """Run the command on a leash."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--grace", type=float, default=20.0)
    parser.add_argument("--report", type=Path)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake_read, wake_write = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(wake_write, b"x"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(options.command, stdin=subprocess.DEVNULL, start_new_session=True)
    _wait(child, stop=[sys.stdin.fileno(), wake_read])
    code = _end(child, grace=options.grace)
    left = _kill_what_is_left()
    if options.report:
        options.report.write_text(json.dumps({"exit": code, "left": left}), encoding="utf-8")
    raise SystemExit(0)


def _wait(child: subprocess.Popen[bytes], *, stop: list[int]) -> None:
    while child.poll() is None:
        if select.select(stop, [], [], 0.5)[0]:
            return
        for process in _table():
            # The child itself is left to its owner.
            if process.parent == os.getpid() and process.state == "Z" and process.pid != child.pid:
                os.waitpid(process.pid, os.WNOHANG)


def _end(child: subprocess.Popen[bytes], *, grace: float) -> int:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def _kill_what_is_left() -> list[str]:
    deadline = time.monotonic() + SETTLING_SECONDS
    while (left := _descendants(os.getpid())) and time.monotonic() < deadline:
        time.sleep(0.05)
    commands = [_command(pid) for pid in left]
    while alive := _descendants(os.getpid()):
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)
    return commands


def _descendants(pid: int) -> list[int]:
    """Return what runs below a process; those that only wait to be reaped are reaped or left out."""
    found, ahead, table = [], [pid], _table()
    while ahead:
        parent = ahead.pop()
        for process in table:
            if process.parent != parent:
                continue
            ahead.append(process.pid)
            if process.state != "Z":
                found.append(process.pid)
            elif parent == os.getpid():
                os.waitpid(process.pid, os.WNOHANG)
    return found


class _Process(NamedTuple):
    pid: int
    state: str
    parent: int


def _table() -> list[_Process]:
    table = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            # A program's name may hold spaces and parentheses; the last parenthesis closes it.
            state, parent = file.read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        table.append(_Process(int(file.parent.name), state, int(parent)))
    return table


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "gone"


if __name__ == "__main__":
    main()
