"""The job tracker on a clock that is told the time: the same scripts, and TIME replaced in their prelude."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import redis

from mirroring.tracker import round_trips
from mirroring.tracker.count_at_start import CountAtStart
from mirroring.tracker.job_tracker import LUA, TAG, JobTracker

CLOCK = f"{TAG}:clock"
REAL = "redis.call('TIME')"
TOLD = f"redis.call('HMGET', '{CLOCK}', 's', 'us')"


class TimeTeller:
    """Sets the clock of a throw-away server. Its own connection, so that telling the time is not counted."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)

    def tell(self, now: datetime) -> None:
        """Say what time it is."""
        self._client.hset(CLOCK, mapping={"s": int(now.timestamp()), "us": now.microsecond})

    def is_reminded(self) -> bool:
        """Take the reminder that the leader of the scheduler would be woken by."""
        return self._client.lpop(f"{TAG}:leader:again") is not None

    def empty(self) -> None:
        """Forget everything: another simulation begins."""
        self._client.flushall()

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()


def tracker(
    url: str, *, arm: str, now: Callable[[], datetime], listen: Callable[[timedelta], bool]
) -> JobTracker:
    """Return a tracker on the told clock; `arm` is a name that ARMS has. `listen` waits in simulated time."""
    round_trips.install()
    client = redis.Redis.from_url(url, decode_responses=True)
    made: JobTracker = ARMS[arm](client)
    prelude = (LUA / "prelude.lua").read_text()
    if prelude.count(REAL) != 1:
        raise RuntimeError("the prelude of the scripts asks for the time otherwise than the simulator knows")
    told = prelude.replace(REAL, TOLD)
    made.use_scripts(told)
    # The two verbs that are no scripts.
    made.now = lambda: now().astimezone(UTC)  # type: ignore[method-assign]
    made.listen = listen  # type: ignore[assignment, method-assign]  # whoever calls it names nothing
    return made


ARMS: dict[str, type[JobTracker]] = {"product": JobTracker, "count-at-start": CountAtStart}
"""The trackers by name: what this project runs, and what it must catch."""
