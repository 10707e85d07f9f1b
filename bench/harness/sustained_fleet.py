"""A fleet under sustained checks: rows of which most are never imported, and some that change while one looks.

What is going to change is imported once before, through the whole stack, so that its change is a fetch of one commit.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from bench.harness import checked
from bench.harness.lateness import Panel
from bench.harness.measure import require
from bench.harness.process_cpu import Stopwatch
from bench.harness.stack import Stack, wait_until
from bench.harness.upstreams import Served

REFS = 10
SLOTS, SLOTS_BEFORE = 4, 16
"""Imports at once while it is measured, and while what will change is imported for the first time."""

CHANGING = 0.001
"""The part of the mirrors that changes in a minute, where each is checked every five minutes."""

PROMISED = timedelta(minutes=5)
LEAD = timedelta(seconds=3)
MAKING = timedelta(microseconds=120)
"""What a row takes to be made, so that the first check is due when all are there."""

LATER = timedelta(days=1)
PATIENCE_SECONDS = 1800.0
TICK_SECONDS = 0.5
STEP = timedelta(seconds=10)


@dataclass(frozen=True)
class Part:
    """One size of the fleet, how often each of its mirrors is due, and for how long that is watched."""

    mirrors: int
    interval: timedelta
    seconds: float

    @property
    def changes_a_second(self) -> float:
        """Return how many mirrors change: the same part of all checks finds a change, whatever the interval."""
        return self.mirrors / self.interval.total_seconds() * CHANGING * (PROMISED / timedelta(minutes=1))


@dataclass
class Seen:
    """What a part came to, in seconds and checks as the upstreams counted them.

    `cpu` is that of the worker for checks and of PostgreSQL together.
    """

    checks: int
    seconds: float
    cpu: float
    worker: float
    forge: float
    stale: int
    imports: int
    late: list[float] = field(repr=False)
    rates: list[float] = field(repr=False)
    worst: list[float] = field(repr=False)
    behind: float = 0.0
    """How long before all rows were made the first checks were due."""

    @property
    def cores(self) -> str:
        """Say who kept the cores busy."""
        used = {"worker": self.worker, "database": self.cpu - self.worker, "upstreams": self.forge}
        return ", ".join(f"{name} {cpu / self.seconds:.2f}" for name, cpu in used.items())

    @property
    def cost(self) -> float:
        """Return microseconds of CPU a check."""
        return self.cpu / self.checks * 1e6


@dataclass
class Fleet:
    """The mirrors, which grow from part to part, the workers that look after them, and the upstreams that change."""

    stack: Stack
    served: Served
    dice: Random
    mirrors: int = 0
    changed: set[int] = field(default_factory=set)
    earlier: set[int] = field(default_factory=set)

    def run(self, part: Part) -> Seen:
        """Add mirrors, have all of them checked for a while, and raise Void if a change was missed."""
        from mirroring.tracker.connection import connect

        there, self.mirrors = range(self.mirrors), part.mirrors
        moving = self._moving(part)
        checked.configure(LATER, capacity=SLOTS_BEFORE)
        if there:
            checked.rest(there, begin=connect().now() + LATER, interval=part.interval)
        else:
            now = connect().now()
            checked.add_first(self.served, refs=REFS, now=now, due=now + LATER)
        self._import_once(moving, there)
        checked.configure(part.interval, capacity=SLOTS)
        mine = set(moving)
        new = [number for number in range(max(1, len(there)), part.mirrors) if number not in mine]
        begin = connect().now() + LEAD + MAKING * len(new)
        checked.add(self.served, new, refs=REFS, begin=begin, interval=part.interval)
        checked.rest(mine.union(there, [0]), begin=begin, interval=part.interval)
        wait = (begin - connect().now()).total_seconds()
        time.sleep(max(0.0, wait))
        seen = self._watch(part, moving)
        seen.behind = max(0.0, -wait)
        self._await_imports(self.changed, since=begin)
        checked.require_found(self.served)
        self.earlier |= mine
        return seen

    def _import_once(self, moving: list[int], there: range) -> None:
        """Have the product import what is going to change, as it is before that."""
        from mirroring.tracker.connection import connect

        began = connect().now()
        new = [number for number in moving if number not in there]
        checked.add(self.served, new, refs=REFS, begin=began + LATER, interval=LATER)
        self.served.push(moving)
        self._await_imports(moving, since=began)
        checked.require_found(self.served)

    def _watch(self, part: Part, moving: list[int]) -> Seen:
        from mirroring.tracker.connection import connect

        self.changed = set()
        panel = Panel(self._untouched(moving), checked.first_id(), part.interval)
        began, start, before = connect().now(), time.monotonic(), self.served.says("asked")
        groups = {
            "worker": Stopwatch(lambda: self.stack.pids("checks")),
            "database": Stopwatch(checked.database),
            "forge": Stopwatch(lambda: [self.served.pid]),
        }
        done, course = 0, Course(_lists(before))
        while (passed := time.monotonic() - start) < part.seconds:
            upto = min(len(moving), int(passed * part.changes_a_second) + 1)
            self.served.push(moving[done:upto])
            self.changed |= set(moving[done:upto])
            done = upto
            panel.look()
            if course.is_due(passed):
                course.note(passed, _lists(self.served.says("asked")))
            self.stack.require_alive()
            time.sleep(TICK_SECONDS)
        after, cpu = self.served.says("asked"), {name: watch.stop().cpu for name, watch in groups.items()}
        checks = _lists(after) - _lists(before)
        require(checks > 0, otherwise="no upstream was asked")
        self._require_rows(checks, since=began)
        return Seen(
            checks=checks,
            seconds=time.monotonic() - start,
            cpu=cpu["worker"] + cpu["database"],
            worker=cpu["worker"],
            forge=cpu["forge"],
            stale=checked.unchecked(since=connect().now() - PROMISED),
            imports=done,
            late=panel.late(now=connect().now()),
            rates=course.rates,
            worst=panel.worst(began=began, step=STEP),
        )

    def _moving(self, part: Part) -> list[int]:
        """Choose the mirrors that change; each does so once. Number 0, of which others are copies, never does."""
        count = max(1, int(part.seconds * part.changes_a_second))
        return [n for n in self.dice.sample(range(1, self.mirrors), count) if n not in self.earlier]

    def _untouched(self, moving: list[int]) -> list[int]:
        chosen = self.dice.sample(range(self.mirrors), min(self.mirrors, 2_000))
        return sorted(set(chosen) - self.earlier - set(moving))

    def _require_rows(self, checks: int, *, since: datetime) -> None:
        """Raise Void unless the rows say, too, that so much was checked."""
        fresh = self.mirrors - checked.unchecked(since=since)
        least = int(0.9 * min(checks, self.mirrors))
        require(fresh >= least, otherwise=f"{checks} checks, but {fresh} rows of {self.mirrors} say so")

    def _await_imports(self, numbers: Collection[int], *, since: datetime) -> None:
        """Have these mirrors checked at once, and wait until all of them have been imported since."""
        from mirroring.models import ImportState
        from mirroring.tracker.connection import connect

        ids = [checked.first_id() + number for number in numbers]
        left = ImportState.objects.filter(mirror_id__in=ids, last_update_at__lte=since)
        now = connect().now()
        left.filter(check_due_at__gt=now).update(check_due_at=now, next_execution_at=now)
        wait_until(
            lambda: not left.exists(),
            seconds=PATIENCE_SECONDS,
            what=f"{len(ids)} mirrors that changed are imported",
            watch=self.stack,
        )


@dataclass
class Course:
    """Checks a second, step by step; `checks` is what had been done before the first."""

    checks: int
    passed: float = 0.0
    rates: list[float] = field(default_factory=list)

    def is_due(self, passed: float) -> bool:
        """Say whether a step is over."""
        return passed - self.passed >= STEP.total_seconds()

    def note(self, passed: float, checks: int) -> None:
        """End a step."""
        self.rates.append(round((checks - self.checks) / (passed - self.passed), 1))
        self.checks, self.passed = checks, passed


def _lists(asked: dict[str, int]) -> int:
    """Return the requests of checks, or rather fewer: an import lists, too, and then fetches or has shaken hands."""
    return asked.get("lists", 0) - asked.get("handshakes", 0) - asked.get("fetches", 0)
