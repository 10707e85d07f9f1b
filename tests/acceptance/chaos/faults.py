"""Everything that goes wrong but a plain SIGKILL. Each fault begins and ends; what it took away is given back."""

import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random

import redis

from tests.acceptance.chaos.kills import IMPORTS, Killer
from tests.acceptance.chaos.plan import FLAGS
from tests.acceptance.chaos.world import World

QUEUES = ("scheduling", "imports")
FAKETIME = tuple(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
BALLAST = "ballast"
# How often each of them comes in a full run.
MIX = {
    "stop_worker": 4,
    "stop_control": 1,
    "redeliver": 5,
    "flushall": 3,
    "redis_crash": 3,
    "client_kill": 3,
    "client_pause": 3,
    "database": 3,
    "flags": 6,
    "capacity": 5,
    "upstreams": 4,
    "disk": 2,
    "clock": 2,
    "rolling_restart": 1,
    "second_beat": 1,
}


def drawn(rng: Random, share: float) -> list[str]:
    """Return kinds of faults in random order, every kind at least once; of a short run the hardest first."""
    chosen = [kind for kind, number in MIX.items() for _ in range(max(1, round(number * share)))]
    rng.shuffle(chosen)
    return chosen if share == 1 else sorted(chosen, key=lambda kind: kind not in HARDEST)


HARDEST = ("stop_worker", "redis_crash", "flushall", "upstreams", "database")


class Faults:
    """Makes one fault after the other."""

    def __init__(self, world: World, rng: Random, killer: Killer) -> None:
        self._world = world
        self._killer = killer
        self._fleet = world.fleet
        self._rng = rng
        self._position = 0
        self._number = 0
        self._held = ExitStack()
        self.captured: deque[tuple[float, str, bytes]] = deque(maxlen=600)

    def make(self, kind: str) -> None:
        """Make one fault, and return when it is over."""
        known: dict[str, Callable[[], None]] = {name: getattr(self, f"_{name}") for name in MIX}
        known[kind]()

    @contextmanager
    def _noted(self, kind: str, *, outage: bool = False, **fields: object) -> Iterator[None]:
        """Write down when a fault begins and ends; `outage`: meanwhile a store cannot be reached."""
        self._number += 1
        number, told = self._number, {"kind": kind, "outage": outage, **fields}
        self._world.journal.note("fault_begins", f"{kind} {fields or ''}", number=number, **told)
        try:
            yield
        finally:
            self._world.journal.note("fault_ends", number=number, **told)

    # -- processes ------------------------------------------------------------------------------------------------

    def _stop_worker(self) -> None:
        """Stop a worker past its lease, as updates are about to become visible or while git hangs; let it go on."""
        role, ways = self._rng.choice(IMPORTS), (self._before_the_swap, self._before_the_swap, self._hanging)
        with self._rng.choice(ways)():
            self._wait_for_publish(role)
            self._stop(role)

    @contextmanager
    def _before_the_swap(self) -> Iterator[None]:
        """Hold the lock of every repository, so that imports wait in front of the swap; the stop lets go of them."""
        with ExitStack() as locks:
            for mirror in self._world.mirrors:
                with suppress(OSError):
                    lock = locks.enter_context((Path(mirror["repository"]) / "update.lock").open("a"))
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            time.sleep(1)
            self._held = locks.pop_all()
        yield

    @contextmanager
    def _hanging(self) -> Iterator[None]:
        """Let every import that begins now hang, for long enough that some do, and for as long as the block lasts."""
        self._world.behave({each.name: "hang" for each in self._world.upstreams})
        try:
            time.sleep(2.5)
            yield
        finally:
            self._world.behave({})

    def _stop_control(self) -> None:
        self._stop("control")

    def _stop(self, role: str) -> None:
        pid = self._fleet.signal(role, signal.SIGSTOP)
        if not pid:
            self._held.close()
            return
        self._held.close()
        seconds = self._world.plan.lease + self._rng.uniform(1, 4)
        with self._noted("stop", role=role, pid=pid):
            time.sleep(seconds)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _wait_for_publish(self, role: str) -> None:
        """Wait for the end of a `pack-refs`, the last git command before the refs become visible."""
        with (self._world.folder / "git.jsonl").open() as log:
            log.seek(0, os.SEEK_END)
            packing, deadline, rest = set(), time.monotonic() + 4, ""
            while time.monotonic() < deadline and self._fleet.roles[role].pid:
                *lines, rest = (rest + log.read()).split("\n")
                for event in map(json.loads, lines):
                    if event["event"] == "start" and "pack-refs" in event["argv"]:
                        packing.add(event["id"])
                    elif event["event"] == "end" and event["id"] in packing:
                        return
                time.sleep(0.0005)

    def _rolling_restart(self) -> None:
        with self._noted("rolling_restart"):
            for role in (*IMPORTS, "scheduling", "control", "beat"):
                self._fleet.restart(role)
                time.sleep(1)

    def _second_beat(self) -> None:
        with self._noted("second_beat"):
            words = ["-m", "celery", "-A", "config", "beat", "-s", str(self._world.folder / "beat-2")]
            self._fleet.alongside("beat-2", [sys.executable, *words])
            time.sleep(self._rng.uniform(6, 9))
            self._fleet.end_alongside("beat-2")

    def _clock(self) -> None:
        """Give one worker a wall clock that is wrong by an hour or more; CLOCK_MONOTONIC stays as it is."""
        role, shift = self._rng.choice(IMPORTS), self._rng.choice((-86_400, -3_600, 3_600, 86_400))
        if FAKETIME:
            environment = {
                "LD_PRELOAD": str(FAKETIME[0]),
                "FAKETIME": f"{shift:+d}s",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "DONT_FAKE_MONOTONIC": "1",
            }
        else:
            folder = Path(__file__).with_name("wrong_clock")
            environment = {"PYTHONPATH": str(folder), "WRONG_CLOCK_SECONDS": str(shift)}
        with self._noted("clock", role=role, shift=shift, by="libfaketime" if FAKETIME else "sitecustomize"):
            self._fleet.restart(role, environment=environment)
            time.sleep(self._rng.uniform(8, 12))
            self._fleet.restart(role)

    # -- Redis ----------------------------------------------------------------------------------------------------

    def _flushall(self) -> None:
        with self._noted("flushall"), self._client() as client:
            client.flushall()

    def _redis_crash(self) -> None:
        """Kill Redis, cut the end off its append-only file, and start it again."""
        with self._noted("redis_crash", outage=True):
            self._world.redis.kill()
            lost = self._world.redis.truncate(self._rng)
            time.sleep(self._rng.uniform(0.3, 2))
            self._world.redis.start()
            self._world.journal.note("truncated", bytes=lost)

    def _client_kill(self) -> None:
        with self._noted("client_kill"):
            for _ in range(3):
                with self._client() as client:
                    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                    client.execute_command("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")
                time.sleep(0.5)

    def _client_pause(self) -> None:
        seconds = self._rng.uniform(1, 3)
        with self._noted("client_pause", outage=True), self._client() as client:
            client.execute_command("CLIENT", "PAUSE", str(int(seconds * 1000)), "ALL")
            time.sleep(seconds)

    def capture(self) -> None:
        """Keep copies of messages that are waiting or in work, for a later redelivery."""
        with suppress(redis.RedisError, ValueError), self._client() as client:
            for name in QUEUES:
                for message in client.lrange(f"mirroring:{name}", 0, 5):
                    self.captured.append((time.monotonic(), name, message))
            for held in list(client.hvals("mirroring:unacked"))[:20]:
                message, _, name = json.loads(held)[:3]
                if name in QUEUES:
                    self.captured.append((time.monotonic(), name, json.dumps(message).encode()))

    def _redeliver(self) -> None:
        """Push messages of old epochs, and a few young ones twice."""
        old = [each for each in self.captured if each[0] < time.monotonic() - self._world.plan.lease]
        chosen = self._rng.sample(old, min(len(old), 30)) + list(self.captured)[-5:]
        with self._noted("redeliver", messages=len(chosen)), self._client() as client:
            for _, name, message in chosen:
                client.lpush(f"mirroring:{name}", message)

    def _client(self) -> "redis.Redis":
        return self._world.redis.client()

    # -- the database, settings and the world outside ---------------------------------------------------------------

    def _database(self) -> None:
        with self._noted("database", outage=True):
            self._world.database.disturb(self._rng.uniform(1, 4))

    def _flags(self) -> None:
        """Go on to another position of both flags, also to the one that is refused unless forced."""
        self._position = (self._position + self._rng.choice((1, 2, 3))) % 4
        values = ((True, True), (False, False), (True, False), (False, True))[self._position]
        with self._noted("flags", values=values):
            for name, value in zip(FLAGS, values, strict=True):
                self._manage("feature", "set", name, str(value).lower(), "--force")
        time.sleep(3)

    def _capacity(self) -> None:
        """Lower the cap, or raise it, under load, and bring it back."""
        plan = self._world.plan
        value = self._rng.choice((0, 2, 4, plan.cap // 2, plan.cap + 4))
        with self._noted("capacity", value=value):
            self._manage("settings", "set", "mirror_max_capacity", str(value))
            time.sleep(self._rng.uniform(2, 4))
            self._manage("settings", "set", "mirror_max_capacity", str(plan.cap))

    def _upstreams(self) -> None:
        """Let some upstreams hang, drip, fail or be slow; then kill a worker whose git hangs."""
        chosen = self._rng.sample(self._world.upstreams, min(12, len(self._world.upstreams) // 3))
        behaviours = ("hang", "drip", "status:503", "slow:2", "hang", "status:500", "slow:1")
        told = {each.name: behaviours[at % len(behaviours)] for at, each in enumerate(chosen)}
        with self._noted("upstreams", told=len(told)):
            self._world.behave(told)
            time.sleep(self._rng.uniform(5, 7))
            with self._hanging():
                self._killer.kill("imports")

    def _disk(self) -> None:
        """Fill the disk; or, where we may not mount one, let a worker write no file of more than a few bytes."""
        if self._world.disk != "tmpfs":
            self._short_files()
            return
        storage = self._world.state / "repositories"
        ballast, free = storage / BALLAST, shutil.disk_usage(storage).free
        with self._noted("disk", by="tmpfs"):
            with suppress(OSError), ballast.open("wb") as file:
                for _ in range(free // 65_536 + 16):
                    file.write(bytes(65_536))
                    file.flush()
            time.sleep(self._rng.uniform(3, 5))
            ballast.unlink()

    def _short_files(self) -> None:
        role = self._rng.choice(IMPORTS)
        with self._noted("disk", by="file size limit", role=role):
            self._fleet.restart(role, words=["prlimit", "--fsize=700", "--"])
            time.sleep(self._rng.uniform(4, 6))
            self._fleet.restart(role)

    def _manage(self, *words: str) -> None:
        """Run a command, again if the store was away just then."""
        for _ in range(5):
            with suppress(Exception):
                self._fleet.manage(*words, timeout=40)
                return
            time.sleep(1)
        self._fleet.manage(*words, timeout=40)
