"""Sustained checks: a fleet whose mirrors are all checked every five minutes, the whole stack on this machine.

The larger fleet has the longer interval, so that all sizes have the same work a second: checks, and imports of what has
changed. Some mirrors change all the time; each of them must be found and imported, and no other may be.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from bench.harness import checked, upstreams
from bench.harness.command import main
from bench.harness.lab import Lab, lab
from bench.harness.lateness import Panel, percentile
from bench.harness.measure import require
from bench.harness.process_cpu import Stopwatch
from bench.harness.row import Row, Target
from bench.harness.scale import Scale
from bench.harness.stack import Stack, running, wait_until
from bench.harness.upstreams import Served

HOSTS = 200
REFS = 10
SLOTS = 4
QUIET, BUSY = 0.0001, 0.001
"""The part of the mirrors that changes in a minute, where each is checked every five minutes."""

PROMISED = timedelta(minutes=5)
LEAD = timedelta(seconds=10)
MAKING = timedelta(microseconds=120)
"""What a row takes to be made, so that the first check is due when all are there."""

PATIENCE_SECONDS = 600.0
TICK_SECONDS = 0.5
FLEET_OF_2018 = 13.8


@dataclass(frozen=True)
class Part:
    """One size of the fleet, how often each of its mirrors is due, and for how long that is watched."""

    mirrors: int
    interval: timedelta
    seconds: float
    changing: float = QUIET

    @property
    def changes_a_second(self) -> float:
        """Return how many mirrors change: the same part of all checks finds a change, whatever the interval."""
        return (
            self.mirrors / self.interval.total_seconds() * self.changing * (PROMISED / timedelta(minutes=1))
        )


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

    @property
    def cores(self) -> str:
        """Say who kept the cores busy."""
        used = {"worker": self.worker, "database": self.cpu - self.worker, "upstreams": self.forge}
        return ", ".join(f"{name} {cpu / self.seconds:.2f}" for name, cpu in used.items())

    @property
    def cost(self) -> float:
        """Return microseconds of CPU a check."""
        return self.cpu / self.checks * 1e6


def rows(scale: Scale) -> Iterator[Row]:
    """Yield the rate, the lateness, and the cost of a check as the fleet grows."""
    sizes: list[tuple[int, int, float, float]] = scale.pick(
        smoke=[(200, 2, 7.0, BUSY), (600, 2, 7.0, BUSY)],
        quick=[(10_000, 3, 40.0, QUIET), (100_000, 29, 30.0, BUSY), (100_000, 29, 60.0, QUIET)],
        full=[(10_000, 3, 40.0, QUIET), (100_000, 29, 30.0, BUSY), (1_000_000, 290, 600.0, QUIET)],
    )
    parts = [Part(mirrors, timedelta(seconds=every), *rest) for mirrors, every, *rest in sizes]
    with lab("postgresql") as place, ExitStack() as stack:
        making = upstreams.memory(place.folder, count=parts[-1].mirrors, refs=REFS, hosts=HOSTS, version=0)
        fleet = Fleet(place, stack.enter_context(making), Random(scale.seed))
        seen = [fleet.run(part) for part in parts]
    for part, one in zip(parts[1:], seen[1:], strict=True):
        yield from _rate(part, one)
    yield Row(
        row="growth-check",
        what=f"CPU of a check, {parts[-1].mirrors:,} mirrors, worker and database",
        peer_name=f"the same, {parts[0].mirrors:,} mirrors",
        unit="µs a mirror",
        ours=seen[-1].cost,
        peer=seen[0].cost,
        target=1.5,
        kind=Target.AT_MOST,
        size=parts[-1].mirrors,
        peer_size=parts[0].mirrors,
    )


def _rate(part: Part, seen: Seen) -> Iterator[Row]:
    half, most = percentile(seen.late, 50), percentile(seen.late, 99)
    stale = f"; {seen.stale:,} were not checked in the last five minutes" if part.seconds > 300 else ""
    what = f"{part.mirrors:,} mirrors on {HOSTS} hosts, {part.changing:.2%} changing a minute, {part.seconds:g} s"
    yield Row(
        row="sustained",
        what=f"sustained checks, {what}",
        peer_name="GitLab.com's whole fleet in 2018",
        unit="checks a second",
        ours=seen.checks / seen.seconds,
        peer=FLEET_OF_2018,
        target=3_333,
        kind=Target.OURS_AT_LEAST,
        size=part.mirrors,
        why=f"counted by the upstreams; {seen.imports:,} mirrors changed, were found and imported{stale}; "
        f"cores in use: {seen.cores}",
    )
    yield Row(
        row="sustained-lateness",
        what=f"lateness of a check, p99, {part.mirrors:,} mirrors, {part.changing:.2%} changing a minute",
        peer_name="the promise: five minutes",
        unit="s",
        ours=most,
        peer=PROMISED.total_seconds(),
        target=0,
        kind=Target.STATED,
        size=part.mirrors,
        why=f"outcome written minus time due; p50 {half:.2f} s, p99 {most:.2f} s",
    )


@dataclass
class Fleet:
    """The mirrors, which grow from part to part, and the upstreams that change."""

    place: Lab
    served: Served
    dice: Random
    mirrors: int = 0
    changed: set[int] = field(default_factory=set)
    earlier: set[int] = field(default_factory=set)

    def run(self, part: Part) -> Seen:
        """Add mirrors, have all of them checked for a while, and raise Void if a change was missed."""
        from mirroring.tracker.connection import connect

        begin = connect().now() + LEAD + MAKING * part.mirrors
        checked.add(
            self.served, range(self.mirrors, part.mirrors), refs=REFS, begin=begin, interval=part.interval
        )
        checked.rest(range(self.mirrors), begin=begin, interval=part.interval)
        self.mirrors = part.mirrors
        self.earlier |= self.changed
        self.changed = set()
        checked.configure(part.interval)
        with running(self.place, slots=SLOTS) as stack:
            time.sleep(max(0.0, (begin - connect().now()).total_seconds()))
            seen = self._watch(part, stack)
            self._await_changed(begin, stack)
        checked.require_found(self.served)
        return seen

    def _watch(self, part: Part, stack: Stack) -> Seen:
        from mirroring.tracker.connection import connect

        moving = self._moving(part)
        panel = Panel(self._untouched(moving), checked.first_id(), part.interval)
        began, start, before = connect().now(), time.monotonic(), self.served.says("asked")
        groups = {
            "worker": Stopwatch(lambda: stack.pids("checks")),
            "database": Stopwatch(checked.database),
            "forge": Stopwatch(lambda: [self.served.pid]),
        }
        done = 0
        while (passed := time.monotonic() - start) < part.seconds:
            upto = min(len(moving), int(passed * part.changes_a_second) + 1)
            self.served.push(moving[done:upto])
            self.changed |= set(moving[done:upto])
            done = upto
            panel.look()
            stack.require_alive()
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
        )

    def _moving(self, part: Part) -> list[int]:
        """Choose the mirrors that change; each does so once."""
        count = max(1, int(part.seconds * part.changes_a_second))
        return [n for n in self.dice.sample(range(self.mirrors), count) if n not in self.earlier]

    def _untouched(self, moving: list[int]) -> list[int]:
        chosen = self.dice.sample(range(self.mirrors), min(self.mirrors, 2_000))
        return sorted(set(chosen) - self.earlier - set(moving))

    def _require_rows(self, checks: int, *, since: Any) -> None:
        """Raise Void unless the rows say, too, that so much was checked."""
        fresh = self.mirrors - checked.unchecked(since=since)
        least = int(0.9 * min(checks, self.mirrors))
        require(fresh >= least, otherwise=f"{checks} checks, but {fresh} rows of {self.mirrors} say so")

    def _await_changed(self, begin: Any, stack: Stack) -> None:
        """Have what changed last checked at once, and wait until all that changed is imported."""
        from mirroring.models import ImportState
        from mirroring.tracker.connection import connect

        ids = [checked.first_id() + number for number in self.changed]
        left = ImportState.objects.filter(mirror_id__in=ids, last_update_at__lte=begin)
        now = connect().now()
        left.filter(check_due_at__gt=now).update(check_due_at=now, next_execution_at=now)
        wait_until(
            lambda: not left.exists(),
            seconds=PATIENCE_SECONDS,
            what="all that changed is imported",
            watch=stack,
        )


def _lists(asked: dict[str, int]) -> int:
    """Return the requests of checks, or rather fewer: for each of an import there are one or two handshakes."""
    return asked.get("lists", 0) - asked.get("handshakes", 0)


if __name__ == "__main__":
    main("sustained", rows)
