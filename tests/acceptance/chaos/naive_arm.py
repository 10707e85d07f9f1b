"""Run the naive arm under the run's seed, and count what it lost and leaked."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from tests.acceptance.chaos.spawning import spawn, tied
from tests.acceptance.chaos.stores import Redis
from tests.acceptance.chaos.world import World
from tests.acceptance.processes import ROOT, clean_environment

MIRRORS = 60
KILLS = 6
THREADS = 6


def run_naive(world: World) -> None:
    """Kill workers and Redis at random, give the arm a lease and two ticks of peace, and write naive.json."""
    folder, plan, rng = world.folder / "naive", world.plan, Random(f"{world.plan.seed}/naive")
    (folder / "repositories").mkdir(parents=True)
    store = Redis(folder / "redis")
    store.start()
    arm = Arm(folder, store.url, capacity=plan.cap)
    arm.start({each.name: f"{world.url}/{each.name}.git" for each in world.upstreams[:MIRRORS]})
    try:
        _disturb(arm, store, rng)
        time.sleep(plan.lease + 2 * plan.tick)
        figures = arm.count(older_than=plan.lease + 2 * plan.tick)
    finally:
        arm.stop()
        store.kill()
    (world.folder / "naive.json").write_text(json.dumps(figures))
    world.journal.note("naive", f"the naive arm: {figures}", **figures)


def _disturb(arm: "Arm", store: Redis, rng: Random) -> None:
    """Do to it what the product went through: SIGKILL of workers, and of Redis with a cut file."""
    time.sleep(3)
    for number in range(KILLS):
        arm.kill_worker(rng.randrange(2))
        time.sleep(rng.uniform(1.5, 3))
        if number == KILLS // 2:
            store.kill()
            store.truncate(rng)
            store.start()


class Arm:
    """Two workers and a scheduling loop."""

    def __init__(self, folder: Path, redis_url: str, *, capacity: int) -> None:
        self._folder = folder
        self._environment = clean_environment() | {"NAIVE_REDIS": redis_url, "NAIVE_FOLDER": str(folder)}
        self._capacity = capacity
        self._workers: list[subprocess.Popen[bytes]] = []
        self._loop: subprocess.Popen[bytes] | None = None

    def start(self, mirrors: dict[str, str]) -> None:
        """Start everything."""
        (self._folder / "mirrors.json").write_text(json.dumps(mirrors))
        self._workers = [self._start(number) for number in range(2)]
        code = (
            "import json, sys; from tests.acceptance.chaos import naive;"
            "naive.make_table(json.load(open(sys.argv[1]))); naive.schedule(int(sys.argv[2]), lambda: True)"
        )
        command = [sys.executable, "-c", code, str(self._folder / "mirrors.json"), str(self._capacity)]
        self._loop = self._spawn(command, "loop")

    def _start(self, number: int) -> "subprocess.Popen[bytes]":
        words = ["-m", "celery", "-A", "tests.acceptance.chaos.naive", "worker", "--pool", "threads"]
        name = ["--concurrency", str(THREADS), "--hostname", f"naive-{number}@%h"]
        return self._spawn(
            [sys.executable, *words, *name, "--without-gossip", "--without-mingle"], f"worker-{number}"
        )

    def _spawn(self, command: list[str], name: str) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{name}.log").open("ab") as log:
            return spawn(
                tied(*command),
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill_worker(self, number: int) -> None:
        """Kill a worker with SIGKILL while it has something to do, and start another."""
        deadline = time.monotonic() + 5
        while not self._working() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(self._workers[number].pid, signal.SIGKILL)
        self._workers[number].wait()
        self._workers[number] = self._start(number)

    def _working(self) -> int:
        return len(self._rows("SELECT name FROM mirror WHERE status = 'started'"))

    def _rows(self, query: str, *values: object) -> list[Any]:
        try:
            with closing(sqlite3.connect(self._folder / "naive.sqlite3", timeout=5)) as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.Error:
            return []

    def count(self, *, older_than: float) -> dict[str, int]:
        """Count mirrors whom nobody takes up any more, and members of the set whose job is gone."""
        before = time.time() - older_than
        lost = "SELECT name FROM mirror WHERE status != 'finished' AND changed_at < ?"
        with Redis.client_of(self._environment["NAIVE_REDIS"]) as client:
            members = int(client.scard("tracker"))  # type: ignore[arg-type]
        imports = self._rows("SELECT coalesce(sum(imports), 0) FROM mirror")
        return {
            "lost": len(self._rows(lost, before)),
            "leaked": max(0, members - self._working_since(before)),
            "imports": imports[0][0] if imports else 0,
            "kills": KILLS,
        }

    def _working_since(self, moment: float) -> int:
        return len(self._rows("SELECT name FROM mirror WHERE status = 'started' AND changed_at >= ?", moment))

    def stop(self) -> None:
        """Kill everything."""
        for process in [*self._workers, *([self._loop] if self._loop else [])]:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
