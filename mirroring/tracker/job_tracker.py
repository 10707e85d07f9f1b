"""The job tracker: leases in sorted sets on the Redis server's clock. One Lua file is one verb.

Member = `mirror_id:epoch`, score = deadline in milliseconds. All keys share one hash tag. A Redis error goes up as
TrackerDown: no slot is given when we cannot count.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast

import redis

from mirroring.tracker.round_trips import ROUND_TRIPS
from mirroring.tracker.scripts import LUA, TAG, instant, milliseconds, speaks
from mirroring.tracker.slots import WAKE_UP_LIFE, Slots, read_counts
from mirroring.tracker.values import Begun, Counts, Door, Lease, Pool, Room, TrackerDown, Worker

__all__ = [
    "LUA",
    "TAG",
    "Begun",
    "Counts",
    "Door",
    "JobTracker",
    "Lease",
    "Pool",
    "Room",
    "TrackerDown",
    "Worker",
]


_ANNOUNCED = ["workers", "slots", "notes", "counters"]


class JobTracker(Slots):
    """The pools, the leader's lease, the workers' announcements and the wake-ups."""

    # -- the leader and its wake-ups --------------------------------------------------------------------------------

    @speaks
    def begin(self, owner: str, *, lease: timedelta, max_capacity: int) -> Begun:
        """Take or renew the lead, and count, at one instant. What happens from now on wants another run."""
        keys = ["ready", "processing", "importing", "workers", "slots"]
        keys += ["leader", "leader:again", "wake", "refill"]
        leads, by_event, *counts = self._call("begin", keys, max_capacity, owner, milliseconds(lease))
        return Begun(leads=bool(leads), refills_by_event=bool(by_event), counts=read_counts(counts))

    @speaks
    def listen(self, patience: timedelta) -> bool:
        """Wait, leading, until something wants another run. False: nothing did in this time."""
        heard = self._client.blpop([f"{TAG}:leader:again"], timeout=patience.total_seconds())
        return heard is not None

    @speaks
    def lead(self, owner: str, *, lease: timedelta, role: str = "leader") -> bool:
        """Take or renew the lease of the one that leads; if another does, have it run once more."""
        return bool(self._call("lead", [role, f"{role}:again"], owner, milliseconds(lease)))

    @speaks
    def resign(self, owner: str, *, role: str = "leader") -> bool:
        """Give the lease back. True: somebody came in vain meanwhile, run once more."""
        return bool(self._call("resign", [role, f"{role}:again"], owner))

    @speaks
    def knock(self) -> bool:
        """Ask for a run of the scheduler. True: the caller is to send the wake-up; False: a run is sure to come."""
        return bool(self._call("knock", ["leader", "leader:again", "wake"], milliseconds(WAKE_UP_LIFE)))

    @speaks
    def left_behind(self) -> bool:
        """Say whether a leader died before it did what it was reminded of."""
        return bool(self._call("left", ["leader", "leader:again"]))

    @speaks
    def refill(self, *, by_event: bool) -> None:
        """Say whether freed slots are to ask for a run."""
        self._client.set(f"{TAG}:refill", "event" if by_event else "tick")

    # -- workers ----------------------------------------------------------------------------------------------------

    @speaks
    def announce(
        self, name: str, *, slots: int, flags: dict[str, bool], life: timedelta, trouble: str = ""
    ) -> datetime:
        """Say that a worker lives, how many imports it can take, why not more, and what flags it sees.

        Return the server's time.
        """
        notes = json.dumps({"flags": flags, "trouble": trouble})
        spent = ROUND_TRIPS.take()
        pairs = [part for pair in spent.items() for part in pair]
        try:
            return instant(
                int(self._call("announce", _ANNOUNCED, name, slots, milliseconds(life), notes, *pairs))
            )
        except redis.RedisError:
            ROUND_TRIPS.put_back(spent)
            raise

    @speaks
    def leave(self, name: str) -> None:
        """Withdraw a worker's announcement."""
        self._call("announce", _ANNOUNCED, name, -1, 0, "")

    @speaks
    def workers(self) -> list[Worker]:
        """Return the workers whose announcements have not run out."""
        pipe = self._client.pipeline(transaction=True)
        pipe.time()
        pipe.zrange(f"{TAG}:workers", 0, -1, withscores=True)
        pipe.hgetall(f"{TAG}:slots")
        pipe.hgetall(f"{TAG}:notes")
        (seconds, micros), rows, slots, notes = pipe.execute()
        now = seconds * 1000 + micros / 1000
        return [
            Worker(
                name=name,
                slots=int(slots.get(name, 0)),
                flags=json.loads(notes.get(name) or "{}").get("flags", {}),
                expires_at=instant(score),
                trouble=json.loads(notes.get(name) or "{}").get("trouble", ""),
            )
            for name, score in rows
            if score > now
        ]

    # -- the clock and the counters ---------------------------------------------------------------------------------

    @speaks
    def now(self) -> datetime:
        """Return the server's time: the one clock of every deadline."""
        seconds, micros = self._client.time()
        return instant(seconds * 1000 + micros / 1000)

    @speaks
    def note(self, event: str, count: int = 1) -> None:
        """Count something that happened, for /metrics."""
        self._client.hincrby(f"{TAG}:counters", event, count)

    @speaks
    def counters(self) -> dict[str, int]:
        """Return what was counted since the server last lost its memory."""
        rows = cast(dict[str, str], self._client.hgetall(f"{TAG}:counters"))
        return {name: int(value) for name, value in rows.items()}

    @speaks
    def server_calls(self) -> int:
        """Return how many commands the server has run since it started, those inside scripts included."""
        stats = cast(dict[str, dict[str, Any]], self._client.info("commandstats"))
        return sum(int(command["calls"]) for command in stats.values())

    # -- what a check hands to the import that it causes ------------------------------------------------------------

    @speaks
    def hand_over(self, texts: Mapping[str, str], *, life: timedelta) -> None:
        """Keep a text for each of some jobs, by their tokens, until it is received or its life is over."""
        pipe = self._client.pipeline(transaction=False)
        for token, text in texts.items():
            pipe.set(f"{TAG}:handed:{token}", text, px=milliseconds(life))
        pipe.execute()

    @speaks
    def receive(self, token: str) -> tuple[datetime, str | None]:
        """Return the server's time, and the text that is kept for a job, which is then forgotten."""
        pipe = self._client.pipeline(transaction=False)
        pipe.time()
        pipe.getdel(f"{TAG}:handed:{token}")
        (seconds, micros), text = pipe.execute()
        return instant(seconds * 1000 + micros / 1000), text

    # -- what a rollback sweeps -------------------------------------------------------------------------------------

    @speaks
    def forget_processing(self) -> int:
        """Forget every job between enqueueing and the door; return how many there were. Their rows decide alone."""
        pipe = self._client.pipeline(transaction=True)
        pipe.zcard(f"{TAG}:{Pool.PROCESSING}")
        pipe.delete(f"{TAG}:{Pool.PROCESSING}")
        return int(pipe.execute()[0])

    @speaks
    def forget_refill(self) -> None:
        """Let freed slots wake nobody, until a run of the scheduler says otherwise."""
        self._client.delete(f"{TAG}:refill", f"{TAG}:wake")
