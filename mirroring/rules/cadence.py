"""When a mirror is imported next.

The formula and its constants are GitLab's: a mirror whose import takes long is asked less often, a failing
one waits in proportion to its failures, and both stay between a floor and a ceiling.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

BACKOFF_PERIOD = timedelta(seconds=24)
"""Wait per second that the last import took; GitLab's constant."""

BACKOFF_JITTER = timedelta(seconds=6)

URGENT_HEAD_START = timedelta(days=3650)
"""How far back an urgent mirror's due time is put, so that it stands before any backlog.

GitLab back-dates by five minutes, which does not jump a queue older than that.
"""

FIRST_HEAD_START = timedelta(minutes=300)
"""How much earlier than others a mirror that was never imported stands in the line of its host: the longest delay,
so that however many are added, no other waits for them longer than for that."""


@dataclass(frozen=True)
class Cadence:
    """The live-tunable bounds of the formula."""

    min_delay: timedelta = timedelta(minutes=30)
    max_delay: timedelta = timedelta(minutes=300)
    jitter: timedelta = timedelta(seconds=60)
    max_retry: int = 14


@dataclass(frozen=True)
class Dice:
    """Random shares in [0, 1), one for each jitter of the formula."""

    backoff: float
    floor: float
    ceiling: float


def next_execution(
    *, now: datetime, duration: timedelta, retry_count: int, cadence: Cadence, dice: Dice
) -> datetime:
    """Return when a mirror is due again, `duration` being how long its last import took (0: never started)."""
    base = (BACKOFF_PERIOD + BACKOFF_JITTER * dice.backoff) * duration.total_seconds()
    floor = cadence.min_delay + cadence.jitter * dice.floor
    ceiling = cadence.max_delay + cadence.jitter * dice.ceiling
    return now + min(max(base, floor) * max(1, retry_count), ceiling)


def is_hard_failed(*, retry_count: int, max_retry: int) -> bool:
    """Say whether a mirror has failed too often in a row to be tried again by itself."""
    return retry_count > max_retry
