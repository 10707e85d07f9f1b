"""SIGKILL for every kind of process: git, its helpers, leashes, workers, beat, and the worker that leads."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random

from tests.acceptance.chaos import proc
from tests.acceptance.chaos.proc import Running
from tests.acceptance.chaos.world import World

IMPORTS = ("imports-1", "imports-2")
PATIENCE = 6.0
# How many of each kind there are among 44; in a shorter run in proportion.
MIX = {"git": 11, "helper": 4, "leash": 6, "imports": 13, "leader": 4, "scheduling": 3, "beat": 3}


def drawn(rng: Random, count: int) -> list[str]:
    """Return kinds of victims in random order: as the mix says, in a short run each at least once."""
    whole = sum(MIX.values())
    chosen = [kind for kind, number in MIX.items() for _ in range(max(1, number * count // whole))]
    while len(chosen) < count:
        chosen.append(rng.choice(("git", "imports")))
    rng.shuffle(chosen)
    return chosen


class Killer:
    """Kills one process after the other, and notes what it was doing."""

    def __init__(self, world: World, rng: Random) -> None:
        self._world = world
        self._rng = rng

    def kill(self, kind: str) -> None:
        """Kill one process of a kind, at a moment when it has something to do; if there is none, one of another."""
        victims: dict[str, Callable[[], bool]] = {
            "git": lambda: self._git(lambda each: each.program in ("git", "unshare")),
            "helper": lambda: self._git(lambda each: each.program.startswith("git-remote")),
            "leash": self._leash,
            "imports": self._worker,
            "leader": self._leader,
            "scheduling": lambda: self._role("checks" if self._checks() else "scheduling"),
            "beat": lambda: self._role("beat"),
        }
        for other in (kind, "imports", "git", "scheduling"):
            if victims[other]():
                break

    def _git(self, wanted: Callable[[Running], bool]) -> bool:
        for role, pid, tree in self._busy():
            for process in self._rng.sample(tree, len(tree)):
                work = process.work or _work_above(process, tree)
                if work and wanted(process):
                    return self._strike(process.pid, "git", role=role, worker=pid, work=work)
        return False

    def _leash(self) -> bool:
        for role, pid, tree in self._busy():
            for process in tree:
                if any(word.endswith("leash_holder.py") for word in process.argv):
                    return self._strike(process.pid, "leash", role=role, worker=pid)
        return False

    def _worker(self) -> bool:
        for role, pid, _ in self._busy():
            return self._strike(pid, "worker", role=role, worker=pid)
        return False

    def _checks(self) -> bool:
        """Choose the worker for checks every other time, if there is one."""
        return self._world.plan.checks and self._rng.random() < 0.5

    def _role(self, role: str) -> bool:
        pid = self._world.fleet.roles[role].pid
        return bool(pid) and self._strike(pid, role, role=role, worker=pid)

    def _leader(self) -> bool:
        """Kill the control worker while a run of the scheduler or of repair holds its lease."""
        deadline = time.monotonic() + PATIENCE
        with suppress(Exception), self._world.redis.client(timeout=1.0) as client:
            while time.monotonic() < deadline:
                if client.zcard("{mirroring}:leader") or client.zcard("{mirroring}:repairer"):
                    break
                time.sleep(0.001)
        return self._role("control")

    def _busy(self) -> Iterator[tuple[str, int, list[Running]]]:
        """Yield workers that have git running, until one was good enough or patience ends."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for role in self._rng.sample(IMPORTS, len(IMPORTS)):
                pid = self._world.fleet.roles[role].pid
                tree = proc.below(pid) if pid else []
                if any(process.work for process in tree):
                    yield role, pid, tree
            time.sleep(0.02)

    def _strike(
        self, victim: int, kind: str, *, role: str, worker: int, work: tuple[str, int] | None = None
    ) -> bool:
        journal = self._world.journal
        at = time.time()
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return False
        journal.note(
            "kill",
            f"killed: {kind} {victim} ({role})",
            kind=kind,
            pid=victim,
            role=role,
            worker=worker,
            work=work,
            at=at,
        )
        return True


def _work_above(process: Running, tree: list[Running]) -> tuple[str, int] | None:
    """Return what the parents of a process work for: a helper's own arguments do not say it."""
    by_pid = {each.pid: each for each in tree}
    parent = by_pid.get(process.parent)
    while parent:
        if parent.work:
            return parent.work
        parent = by_pid.get(parent.parent)
    return None
