"""Watch the tracker's importing slots in Redis, many times a second, without asking the product."""

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TextIO, cast

import redis

IMPORTING = "{mirroring}:importing"
WORKERS = "{mirroring}:workers"
NOTES = "{mirroring}:notes"
FLAGS = ("project_import_schedule_worker_job_tracker", "update_all_mirrors_job_tracker")


@dataclass(frozen=True)
class Sample:
    """Who held an importing slot at one moment, and the two flags as each live worker said it saw them.

    Whoever announces itself without flags (beat does: it reads none) is left out.

    Leases and announcements whose deadline has passed do not count.
    """

    holders: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    flags: tuple[tuple[str, tuple[bool, ...]], ...] = ()

    @property
    def slots(self) -> int:
        """How many slots were in use."""
        return len(self.holders)


def look(client: redis.Redis) -> Sample:
    """Take one sample, by the clock of the Redis server."""
    pipeline = client.pipeline(transaction=True)
    pipeline.time()
    pipeline.zrange(IMPORTING, 0, -1, withscores=True)
    pipeline.zrange(WORKERS, 0, -1, withscores=True)
    pipeline.hgetall(NOTES)
    (seconds, microseconds), leases, workers, notes = cast(Any, pipeline.execute())
    now = seconds * 1000 + microseconds / 1000
    return Sample(
        holders=tuple(_text(member) for member, deadline in leases if deadline > now),
        expired=tuple(_text(member) for member, deadline in leases if deadline <= now),
        flags=tuple(
            (_text(name), seen)
            for name, deadline in workers
            if deadline > now and (seen := _flags(notes.get(name)))
        ),
    )


def _flags(note: bytes | None) -> tuple[bool, ...]:
    seen = json.loads(note or "{}").get("flags")
    return tuple(bool(seen.get(name)) for name in FLAGS) if seen else ()


def _text(member: bytes | str) -> str:
    return member.decode(errors="replace") if isinstance(member, bytes) else member


class Sampler:
    """Write a JSON line whenever the holders change, and one a second in any case."""

    def __init__(self, log: Path, *, redis_url: str, pause: float = 0.05) -> None:
        self.last = Sample()
        self._client = redis.Redis.from_url(redis_url, socket_timeout=5)
        self._log: TextIO = log.open("a", encoding="utf-8")
        self._pause = pause
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._log.close()
        self._client.close()

    def _run(self) -> None:
        written = 0.0
        while not self._stopping.wait(self._pause):
            try:
                sample = look(self._client)
            except redis.RedisError as error:
                self._write(error=str(error))
                continue
            if sample != self.last or time.monotonic() - written > 1:
                self.last, written = sample, time.monotonic()
                self._write(
                    slots=sample.slots,
                    holders=sample.holders,
                    expired=sample.expired,
                    flags=dict(sample.flags),
                )

    def _write(self, **fields: object) -> None:
        line = {"event": "sample", **fields, "t": time.monotonic(), "wall": time.time()}
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()
