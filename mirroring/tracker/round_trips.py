"""How often this process speaks to Redis, by purpose. One command, script call or pipeline is one round trip.

The client offers no hook for this, so its one sending method is wrapped, once, in the class. What is sent while the
tracker speaks is the tracker's; all else in a process of ours is the broker's.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

from redis.connection import AbstractConnection

PREFIX = "round_trips_"
BROKER = "broker"
TRACKER = "tracker"


class RoundTrips:
    """The counts that no heartbeat has carried away yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._speaker = threading.local()

    @contextmanager
    def of(self, purpose: str) -> Iterator[None]:
        """Count what this thread sends meanwhile for a purpose."""
        before = getattr(self._speaker, "purpose", BROKER)
        self._speaker.purpose = purpose
        try:
            yield
        finally:
            self._speaker.purpose = before

    @contextmanager
    def diverted(self) -> Iterator["RoundTrips"]:
        """Count what this thread sends meanwhile in another meter: a simulation's traffic is not the service's."""
        self._speaker.meter = meter = RoundTrips()
        try:
            yield meter
        finally:
            del self._speaker.meter

    def count(self, purpose: str = "") -> None:
        """Count one round trip of this thread."""
        purpose = purpose or getattr(self._speaker, "purpose", BROKER)
        meter = getattr(self._speaker, "meter", None)
        if meter is not None:
            meter.count(purpose)
            return
        with self._lock:
            self._counts[PREFIX + purpose] += 1

    def take(self) -> dict[str, int]:
        """Return the counts, and begin at nothing."""
        with self._lock:
            taken, self._counts = dict(self._counts), Counter()
        return taken

    def put_back(self, taken: Mapping[str, int]) -> None:
        """Undo `take`: they could not be carried away."""
        with self._lock:
            self._counts.update(taken)


ROUND_TRIPS = RoundTrips()


def install() -> None:
    """Count from now on, in this process. Safe to call twice."""
    original: Any = AbstractConnection.send_packed_command
    if getattr(original, "counts", False):
        return

    @wraps(original)
    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        ROUND_TRIPS.count()
        return original(self, *args, **kwargs)

    counted.counts = True  # type: ignore[attr-defined]  # a mark on the function
    AbstractConnection.send_packed_command = counted  # type: ignore[method-assign]
