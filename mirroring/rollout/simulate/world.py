"""Simulated time: a heap of what happens when. Whoever sleeps lets the rest of the world go on meanwhile."""

import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from mirroring.tracker.connection import RunClock

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """The clock, and what is to happen."""

    def __init__(self, tell: Callable[[datetime], None]) -> None:
        self.now = BEGIN
        self._tell = tell
        self._order = itertools.count()
        self._agenda: list[tuple[datetime, int, Callable[[], None]]] = []
        tell(BEGIN)

    @property
    def seconds(self) -> float:
        """Return the time since the beginning."""
        return (self.now - BEGIN).total_seconds()

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something happen later."""
        at = self.now + timedelta(seconds=seconds)
        heapq.heappush(self._agenda, (at, next(self._order), act))

    def every(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something happen again and again."""

        def once() -> None:
            self.after(seconds, once)
            act()

        self.after(0, once)

    def sleep(self, seconds: float) -> None:
        """Let the world go on for a while. Called from within an event, too: the sleeper is one of many."""
        until = self.now + timedelta(seconds=seconds)
        while self._agenda and self._agenda[0][0] <= until:
            at, _, act = heapq.heappop(self._agenda)
            self._set(max(at, self.now))
            act()
        self._set(max(until, self.now))

    def _set(self, now: datetime) -> None:
        if now != self.now:
            self.now = now
            self._tell(now)


class WorldClock(RunClock):
    """The clock of a run, read from the world."""

    def __init__(self, world: World) -> None:
        super().__init__(world.now)
        object.__setattr__(self, "_world", world)

    def now(self) -> datetime:
        """Return the simulated time."""
        world: World = getattr(self, "_world")  # noqa: B009  # the dataclass is frozen and knows no such field
        return world.now
