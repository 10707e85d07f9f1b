"""The arm `count-at-start`: a tracker that counts jobs once they have started, without leases.

It is how this was first tried elsewhere, and it is wrong twice: right after a bulk enqueue it counts nothing, so the
scheduler believes that there is room; and a job that is killed stays counted for ever. It is kept so that the
simulator and the guards of a rollout can be shown to catch it. Nothing uses it unless MIRRORING_TRACKER_ARM says so.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import cast

from mirroring.models import Claim
from mirroring.tracker.job_tracker import TAG, JobTracker
from mirroring.tracker.values import ANY_HOST, Begun, Counts, Door, Room

NAME = "count-at-start"
STARTED = f"{TAG}:started"


class CountAtStart(JobTracker):
    """Counts what has begun to run."""

    def note_start(self, token: str) -> None:
        """Count a job that starts."""
        self._client.sadd(STARTED, token)

    def admit(
        self,
        tokens: Sequence[str],
        *,
        capacity: int,
        lease: timedelta,
        enforce: bool,
        rooms: Sequence[Room] = (),
    ) -> list[str] | None:
        """Let every job in, and count none of them yet."""
        return list(tokens)

    def counts(self, *, max_capacity: int) -> Counts:
        """Return what is held, with the jobs that have started in place of those that are under way."""
        return self._started(super().counts(max_capacity=max_capacity))

    def begin(self, owner: str, *, lease: timedelta, max_capacity: int) -> Begun:
        """Begin a run with such a count."""
        begun = super().begin(owner, lease=lease, max_capacity=max_capacity)
        return replace(begun, counts=self._started(begun.counts))

    def _started(self, counts: Counts) -> Counts:
        return replace(counts, processing=self._client.scard(STARTED))

    def door(
        self,
        token: str,
        *,
        capacity: int,
        lease: timedelta,
        waited: timedelta = timedelta(0),
        room: Room = ANY_HOST,
    ) -> Door:
        """Count the job while it is at the door."""
        self.note_start(token)
        answer = super().door(token, capacity=capacity, lease=lease, waited=waited, room=room)
        self._client.srem(STARTED, token)
        return answer

    def held_by_dead(self, alive: Collection[Claim]) -> int:
        """Return how many are still counted that are not among the jobs under way."""
        counted = cast(set[str], self._client.smembers(STARTED))
        return len(counted - {claim.token for claim in alive})
