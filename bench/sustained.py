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
from bench.harness.sustained_fleet import CHANGING, PROMISED, REFS, SLOTS_BEFORE, Fleet, Part, Seen

HOSTS = 200
FLEET_OF_2018 = 13.8


def rows(scale: Scale) -> Iterator[Row]:
    """Yield the rate, the lateness, and the cost of a check as the fleet grows."""
    sizes: tuple[tuple[int, int, float], ...] = scale.pick(
        smoke=((200, 2, 5), (600, 2, 5)),
        quick=((10_000, 3, 40), (100_000, 29, 60)),
        full=((10_000, 3, 60), (100_000, 29, 60), (1_000_000, 290, 600)),
    )
    parts = [Part(mirrors, timedelta(seconds=every), seconds) for mirrors, every, seconds in sizes]
    with lab("postgresql") as place, ExitStack() as stack:
        making = upstreams.memory(place.folder, count=parts[-1].mirrors, refs=REFS, hosts=HOSTS, version=0)
        served = stack.enter_context(making)
        fleet = Fleet(stack.enter_context(running(place, slots=SLOTS_BEFORE)), served, Random(scale.seed))
        seen = [fleet.run(part) for part in parts]
    for part, one in zip(parts[1:], seen[1:], strict=True):
        yield from _rate(part, one)
    for part, one in zip(parts[1:], seen[1:], strict=True):
        yield _growth(part, one, parts[0], seen[0])


def _growth(part: Part, seen: Seen, first: Part, before: Seen) -> Row:
    return Row(
        row="growth-check",
        what=f"CPU of a check, {part.mirrors:,} mirrors, worker and database",
        peer_name=f"the same, {first.mirrors:,} mirrors",
        unit="µs a mirror",
        ours=seen.cost,
        peer=before.cost,
        target=1.5,
        kind=Target.AT_MOST,
        size=part.mirrors,
        peer_size=first.mirrors,
    )


def _rate(part: Part, seen: Seen) -> Iterator[Row]:
    half, most = percentile(seen.late, 50), percentile(seen.late, 99)
    stale = f"; {seen.stale:,} were not checked in the last five minutes" if part.seconds > 300 else ""
    behind = f"; begun {seen.behind:.1f} s behind" if seen.behind else ""
    what = f"{part.mirrors:,} mirrors on {HOSTS} hosts, {CHANGING:.1%} changing a minute, {part.seconds:g} s"
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
        what=f"lateness of a check, p99, {part.mirrors:,} mirrors, {CHANGING:.1%} changing a minute",
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
