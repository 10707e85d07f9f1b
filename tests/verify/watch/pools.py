"""Look into the tracker's pools many times a second, in one transaction each, by the clock of the Redis server."""

import threading
import time
from pathlib import Path
from typing import Any, cast

import redis

from tests.verify.watch.log import Log

TAG = "{mirroring}"
PAUSE = 0.05
AT_LEAST_EVERY = 0.5
Sample = dict[str, Any]


def look(client: redis.Redis) -> Sample:
    """Return who holds what, which workers have announced themselves, and whether the pools are ready."""
    pipeline = client.pipeline(transaction=True)
    pipeline.time()
    for pool in ("importing", "processing", "workers"):
        pipeline.zrange(f"{TAG}:{pool}", 0, -1, withscores=True)
    pipeline.hgetall(f"{TAG}:slots")
    pipeline.get(f"{TAG}:ready")
    pipeline.info("server")
    (seconds, micros), importing, processing, workers, slots, ready, info = cast(Any, pipeline.execute())
    now = seconds + micros / 1_000_000
    return {
        "at": now,
        "importing": _live(importing, now),
        "processing": _live(processing, now),
        "workers": {name: int(slots.get(name.encode(), 0)) for name in _live(workers, now)},
        "ready": (ready or b"").decode() == info["run_id"],
    }


def _live(pairs: list[tuple[bytes, float]], now: float) -> list[str]:
    return sorted(member.decode() for member, deadline in pairs if deadline > now * 1000)


def watch(path: Path, redis_url: str, ended: threading.Event) -> None:
    """Write a line whenever something changes, at least two a second, and one that says so while Redis is away."""
    client = redis.Redis.from_url(redis_url, socket_timeout=1, socket_connect_timeout=1)
    log, last, written = Log(path), {}, 0.0
    while not ended.wait(PAUSE):
        try:
            sample = look(client)
        except (redis.RedisError, KeyError):
            sample = {"at": time.time(), "down": True}
        seen = {name: value for name, value in sample.items() if name != "at"}
        if seen != last or sample["at"] - written > AT_LEAST_EVERY:
            last, written = seen, sample["at"]
            log.write("pools", **sample)
    log.close()
