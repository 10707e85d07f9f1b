"""The leash: a small process that kills this worker's git processes when the worker cannot.

It is fed through a pipe. Each successful renewal of the leases moves its deadline; past the deadline, or when the
pipe closes, it kills every process group it was told of. So neither a SIGKILL nor a SIGSTOP of the worker leaves git
running on past its lease. Deadlines are on CLOCK_MONOTONIC, which all processes of a machine share.
"""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

logger = logging.getLogger(__name__)

HOLDER = Path(__file__).with_name("leash_holder.py")


class Leash:
    """This process's end of the leash. It does nothing until it is started; then it heals itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()
        self._deadline: float | None = None

    def start(self, *, life: timedelta) -> None:
        """Start the holder. Without a further `extend` it kills after `life`."""
        with self._lock:
            self._deadline = time.monotonic() + life.total_seconds()
            self._spawn()

    def extend(self, *, since: float, life: timedelta) -> None:
        """Move the deadline to `life` after `since` (monotonic), the instant before the renewal that succeeded."""
        with self._lock:
            if self._deadline is None:
                return
            self._deadline = since + life.total_seconds()
            if self._holder is None or self._holder.poll() is not None:
                logger.warning("the leash holder died: starting another")
                self._spawn()
            else:
                self._say(f"! {self._deadline}")

    @contextmanager
    def holding(self, group: int) -> Iterator[None]:
        """Keep a process group on the leash while it runs."""
        with self._lock:
            self._groups.add(group)
            self._say(f"+ {group}")
        try:
            yield
        finally:
            with self._lock:
                self._groups.discard(group)
                self._say(f"- {group}")

    @property
    def pid(self) -> int | None:
        """Return the holder's process id, if it was started."""
        return self._holder.pid if self._holder else None

    def _spawn(self) -> None:
        if self._holder and self._holder.stdin:
            with suppress(OSError):
                self._holder.stdin.close()
        self._holder = subprocess.Popen(
            [sys.executable, "-I", "-S", str(HOLDER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # A signal to the worker's group must not take the leash along.
        )
        self._say(f"! {self._deadline}")
        for group in self._groups:
            self._say(f"+ {group}")

    def _say(self, line: str) -> None:
        if self._holder and self._holder.stdin:
            with suppress(OSError):  # A dead holder is noticed, and replaced, at the next renewal.
                self._holder.stdin.write(f"{line}\n".encode())
                self._holder.stdin.flush()


LEASH = Leash()
"""The leash of this process."""
