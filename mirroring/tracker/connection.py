"""The process's one connection pool to Redis, and its clocks."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from mirroring.tracker import round_trips
from mirroring.tracker.job_tracker import JobTracker, TrackerDown
from mirroring.tracker.simulated import ARMS


@cache
def connect() -> JobTracker:
    """Return the tracker of this process. It connects at the first call and is safe to share between threads."""
    round_trips.install()
    client = redis.Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        # A call either answers soon or fails: the caller admits nothing then. The client's own ten retries would
        # hold a scheduler run for a minute.
        retry=Retry(NoBackoff(), 0),
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=30,
    )
    return ARMS[settings.TRACKER_ARM](client)


@dataclass(frozen=True)
class RunClock:
    """The time of one run: read once from the Redis server, carried on by this machine's monotonic clock.

    So a wrong wall clock of a worker changes no deadline, and an import can write how it ended while Redis is away.
    """

    started_at: datetime
    _mark: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        """Return the server's time, as far as this run knows it."""
        return self.started_at + timedelta(seconds=time.monotonic() - self._mark)


ASKED_EVERY = timedelta(seconds=10)
ASKED_AGAIN = timedelta(seconds=1)


class ServerClock:
    """The Redis server's time in this process, asked for now and then, and carried on also while Redis is away."""

    def __init__(self, ask: Callable[[], datetime]) -> None:
        self._ask = ask
        self._told: RunClock | None = None
        self._ask_at = 0.0

    def now(self) -> datetime | None:
        """Return the server's time; None while this process has never learnt it."""
        mark = time.monotonic()
        if mark >= self._ask_at:
            self._ask_at = mark + ASKED_EVERY.total_seconds()
            try:
                self._told = RunClock(self._ask())
            except TrackerDown:
                if self._told is None:
                    self._ask_at = mark + ASKED_AGAIN.total_seconds()
        return self.known()

    def known(self) -> datetime | None:
        """Return the same as last told, carried on, and ask nobody."""
        return self._told.now() if self._told else None


SERVER_CLOCK = ServerClock(lambda: connect().now())


def present() -> datetime:
    """Return the server's time, or this machine's where Redis is away: for what people ask, never for a deadline."""
    try:
        return connect().now()
    except TrackerDown:
        return datetime.now(tz=UTC)
