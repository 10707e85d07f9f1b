"""Sustained checks: a fleet whose mirrors are all checked every five minutes, the whole stack on this machine.

The larger fleet has the longer interval, so that all sizes have the same work a second: checks, and imports of what has
changed. Some mirrors change all the time; each of them must be found and imported, and no other may be. These were
imported once before, so that what the run asks for is a fetch of one new commit.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from random import Random

from bench.harness import upstreams
from bench.harness.command import main
from bench.harness.lab import lab
from bench.harness.lateness import percentile
from bench.harness.row import Row, Target
from bench.harness.scale import Scale
from bench.harness.stack import running
from bench.harness.sustained_fleet import PROMISED, REFS, SLOTS_BEFORE, Fleet, Part, Seen

HOSTS = 200
QUIET, BUSY = 0.0001, 0.001
"""The part of the mirrors that changes in a minute, where each is checked every five minutes."""

FLEET_OF_2018 = 13.8


def rows(scale: Scale) -> Iterator[Row]:
    """Yield the rate, the lateness, and the cost of a check as the fleet grows."""
    sizes: list[tuple[int, int, float, float]] = scale.pick(
        smoke=[(200, 2, 5.0, BUSY), (600, 2, 5.0, BUSY)],
        quick=[(10_000, 3, 40.0, QUIET), (100_000, 29, 30.0, BUSY), (100_000, 29, 60.0, QUIET)],
        full=[(10_000, 3, 40.0, QUIET), (100_000, 29, 30.0, BUSY), (1_000_000, 290, 600.0, QUIET)],
    )
    parts = [Part(mirrors, timedelta(seconds=every), *rest) for mirrors, every, *rest in sizes]
    with lab("postgresql") as place, ExitStack() as stack:
        making = upstreams.memory(place.folder, count=parts[-1].mirrors, refs=REFS, hosts=HOSTS, version=0)
        served = stack.enter_context(making)
        fleet = Fleet(stack.enter_context(running(place, slots=SLOTS_BEFORE)), served, Random(scale.seed))
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
    behind = f"; begun {seen.behind:.1f} s behind" if seen.behind else ""
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
        course=tuple(seen.rates),
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
        course=tuple(seen.worst),
        why=f"outcome written minus time due; p50 {half:.2f} s, p99 {most:.2f} s{behind}",
    )


if __name__ == "__main__":
    main("sustained", rows)
