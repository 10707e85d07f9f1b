"""What goes on beside the faults: pushes to the upstreams, questions to the product, copies of its messages."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from subprocess import TimeoutExpired
from typing import Self

from tests.acceptance.chaos.faults import Faults
from tests.acceptance.chaos.world import World
from tests.acceptance.plan import Failed

EXPLAIN_PAUSE = 8.0
PUSH_PAUSE = 0.25
PUSHED_SHARE = 0.5
"""So many of the imports find something new."""


class Company:
    """Threads that go on until the block ends."""

    def __init__(self, world: World, faults: Faults, rng: Random) -> None:
        self._world = world
        self._faults = faults
        self._rng = rng
        self._ended = threading.Event()
        self._quiet = threading.Event()
        acts = (self._push, self._explain, self._capture)
        self._threads = [threading.Thread(target=act, daemon=True) for act in acts]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def stop_pushing(self) -> None:
        """Leave the upstreams as they are from now on."""
        self._quiet.set()
        self._threads[0].join()

    def _push(self) -> None:
        while not self._ended.wait(PUSH_PAUSE) and not self._quiet.is_set():
            share = self._world.plan.rate * PUSHED_SHARE * PUSH_PAUSE
            for upstream in self._rng.sample(self._world.upstreams, max(1, round(share))):
                upstream.push()

    def _explain(self) -> None:
        while not self._ended.wait(EXPLAIN_PAUSE):
            explain_all(self._world)

    def _capture(self) -> None:
        while not self._ended.wait(0.2):
            self._faults.capture()


def explain_all(world: World) -> None:
    """Ask the product why each mirror is not running, and keep the answer."""
    asked = time.time()
    try:
        answer = json.loads(world.fleet.manage("mirror", "explain", "--all", "--json", timeout=60))
    except (Failed, TimeoutExpired, ValueError) as error:
        world.journal.note("explain_failed", asked=asked, error=str(error)[-300:])
        return
    kept = ("id", "verdict", "reason", "starts_at", "act")
    rows = [{name: row[name] for name in kept} for row in answer]
    with (world.folder / "explain.jsonl").open("a") as log:
        log.write(json.dumps({"event": "explain", "asked": asked, "at": time.time(), "rows": rows}) + "\n")


def wait_for(what: str, true: Callable[[], bool], *, seconds: float, pause: float = 1.0) -> None:
    """Wait until something is true; fail if it takes too long."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)


def quietly(look: Callable[[], int]) -> int:
    """Return what a look at a store says, 0 while the store is away."""
    with suppress(Exception):
        return look()
    return 0
