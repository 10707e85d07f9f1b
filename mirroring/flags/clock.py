"""The clock by which leases end: one for all processes, so that a wrong wall clock keeps no flag on.

It is that of the Redis server, carried on while Redis is away; who can tell it registers from above.
"""

from collections.abc import Callable
from datetime import UTC, datetime

Source = Callable[[], datetime | None]

_sources: list[Source] = []
_known: list[Source] = []


def told_by(source: Source, *, known: Source) -> None:
    """Let the common time be asked of `source`; `known` is what it last said, carried on, and asks nobody."""
    _sources[:], _known[:] = [source], [known]


def now() -> datetime | None:
    """Return the common time; None if this process has never learnt it, and then no lease may be believed."""
    return next((source() for source in _sources), None)


def present() -> datetime:
    """Return the common time, or this machine's: for what is noted."""
    return now() or datetime.now(tz=UTC)


def at_once() -> datetime:
    """Return the same without waiting for anybody: for turning off."""
    return next((source() for source in _known), None) or datetime.now(tz=UTC)
