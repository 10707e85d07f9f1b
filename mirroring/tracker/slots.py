"""The pools of slots: who may start, who runs, and how many of each host."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from mirroring.tracker.scripts import TAG, Scripts, instant, milliseconds, speaks
from mirroring.tracker.values import ANY_HOST, Counts, Door, Lease, Pool, Room

NOT_READY = -1
WAKE_UP_LIFE = timedelta(seconds=5)
"""After this a wake-up whose message was lost no longer stands in the way of the next."""


def read_counts(answer: Sequence[Any]) -> Counts:
    """Return what `count` and `begin` say is held."""
    ready, capacity, importing, processing, slots, at = map(int, answer)
    return Counts(
        ready=bool(ready),
        capacity=capacity,
        importing=importing,
        processing=processing,
        slots=slots,
        at=instant(at),
    )


def _host_keys(hosts: Iterable[int]) -> list[str]:
    return [f"host:{host}" for host in hosts]


class Slots(Scripts):
    """Leases in the pools `processing` and `importing`."""

    @speaks
    def admit(
        self,
        tokens: Sequence[str],
        *,
        capacity: int,
        lease: timedelta,
        enforce: bool,
        rooms: Sequence[Room] = (),
    ) -> list[str] | None:
        """Track jobs from before they are enqueued. Return those that are in; None: not ready.

        `rooms`: for each job what its host may hold; of one host all say the same.
        """
        slots = {room.host: room.slots for room in rooms if room.host}
        numbers = {host: at for at, host in enumerate(slots, start=1)}
        hosts = [numbers.get(room.host, 0) for room in rooms] or [0] * len(tokens)
        keys = ["ready", "processing", "importing", "workers", "slots", *_host_keys(slots)]
        pairs = [part for pair in zip(tokens, hosts, strict=True) for part in pair]
        numbers_of = [capacity, milliseconds(lease), int(enforce), len(slots), *slots.values()]
        refused = self._call("admit", keys, *numbers_of, *pairs)
        if refused == NOT_READY:
            return None
        out = set(refused)
        return [token for at, token in enumerate(tokens, start=1) if at not in out]

    @speaks
    def door(
        self,
        token: str,
        *,
        capacity: int,
        lease: timedelta,
        waited: timedelta = timedelta(0),
        room: Room = ANY_HOST,
    ) -> Door:
        """Take one job out of processing and, if there is room, into importing. `waited`: since it was claimed."""
        keys = ["ready", "processing", "importing", "workers", "slots", "counters", *_host_keys([room.host])]
        numbers = [capacity, milliseconds(lease), milliseconds(waited), room.slots]
        return Door(int(self._call("door", keys, token, *numbers)))

    @speaks
    def renew(self, tokens: Sequence[str], *, lease: timedelta) -> set[str] | None:
        """Renew importing slots and return the tokens that still held one; None: not ready, nothing can be said."""
        answer = self._call("renew", ["ready", "importing"], milliseconds(lease), *tokens)
        return set(answer[1]) if int(answer[0]) else None

    @speaks
    def release(self, *tokens: str) -> bool:
        """Free what jobs hold at their end. True: the caller must send a wake-up, which is now noted as pending."""
        keys = ["processing", "importing", "refill", "wake", "leader", "leader:again"]
        return bool(self._call("release", keys, milliseconds(WAKE_UP_LIFE), *tokens))

    @speaks
    def forget(self, *tokens: str) -> None:
        """Free whatever these jobs hold, and wake nobody: for jobs that did not run to their end."""
        for at in range(0, len(tokens), 1000):
            pipe = self._client.pipeline(transaction=False)
            for pool in Pool:
                pipe.zrem(f"{TAG}:{pool}", *tokens[at : at + 1000])
            pipe.execute()

    @speaks
    def shorten(self, *, beyond: datetime, until: datetime) -> int:
        """Have leases that would last beyond a time end at an earlier one, and return how many did."""
        after, deadline = milliseconds(beyond - instant(0)), milliseconds(until - instant(0))
        shortened = 0
        for key in (f"{TAG}:{pool}" for pool in Pool):
            tokens = cast(list[str], self._client.zrangebyscore(key, f"({after}", "+inf"))
            if tokens:
                # Those that were freed or renewed meanwhile are left as they are.
                ends = dict.fromkeys(tokens, deadline)
                shortened += int(self._client.zadd(key, ends, xx=True, lt=True, ch=True))  # type: ignore[arg-type]
        return shortened

    @speaks
    def counts(self, *, max_capacity: int) -> Counts:
        """Return what is held now."""
        keys = ["ready", "processing", "importing", "workers", "slots"]
        return read_counts(self._call("count", keys, max_capacity))

    @speaks
    def leases(self, pool: Pool) -> list[Lease]:
        """Return who holds the leases of a pool, also those that ran out and were not yet forgotten."""
        rows = cast(list[tuple[str, float]], self._client.zrange(f"{TAG}:{pool}", 0, -1, withscores=True))
        return [Lease(token=token, deadline=instant(score)) for token, score in rows]

    @speaks
    def rebuild(self, *, processing: Sequence[Lease], importing: Sequence[Lease]) -> bool:
        """Put into the pools what the rows say, if the server has lost it. False: nothing was lost."""
        hosts = {lease.host for lease in (*processing, *importing) if lease.host}
        numbers = {host: at for at, host in enumerate(sorted(hosts), start=1)}

        def flat(leases: Sequence[Lease]) -> list[object]:
            deadlines = (milliseconds(held.deadline - instant(0)) for held in leases)
            return [
                part
                for deadline, held in zip(deadlines, leases, strict=True)
                for part in (deadline, held.token, numbers.get(held.host, 0))
            ]

        keys = ["ready", "processing", "importing", *_host_keys(numbers)]
        return bool(self._call("rebuild", keys, len(processing), *flat(processing), *flat(importing)))
