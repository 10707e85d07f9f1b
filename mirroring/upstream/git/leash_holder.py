"""The other end of the leash, run as a process of its own: reads orders, kills process groups. Standard library only.

Orders, a line each: `+ GROUP` hold, `- GROUP` let go, `! SECONDS` the deadline on CLOCK_MONOTONIC.
"""

import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path


def start_of(pid: int) -> str:
    """Return when a process started, in the kernel's ticks, or "" if there is none: a number alone may be reused."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def kill(held: dict[int, str]) -> None:
    """Kill the groups whose leader is still the one we were told of, or has gone and left others behind."""
    for group, started in held.items():
        if start_of(group) in {started, ""}:
            with suppress(ProcessLookupError, PermissionError):  # Gone, or a number that is no longer ours.
                os.killpg(group, signal.SIGKILL)


def obey(line: str, held: dict[int, str], deadline: float) -> float:
    """Carry out one order and return the deadline that now holds."""
    order, _, value = line.partition(" ")
    if order == "!":
        return float(value)
    if order == "+":
        held[int(value)] = start_of(int(value))
    else:
        held.pop(int(value), None)
    return deadline


def hold() -> None:
    """Obey until the pipe closes; then, and whenever the deadline has passed, kill what is held."""
    held: dict[int, str] = {}
    deadline, rest = float("inf"), b""
    while True:
        left = max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select([0], [], [], min(left, 3600.0) if left else 0.2)
        if readable:
            chunk = os.read(0, 1 << 16)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                deadline = obey(line.decode(), held, deadline)
        if time.monotonic() >= deadline:
            kill(held)
    kill(held)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # It ends with the pipe, so with the worker, and not before.
    hold()
    sys.exit(0)
