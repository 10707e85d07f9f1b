"""The scheduler's cost as the fleet grows, and with a burst of one host in front of all others.

Each size is a fleet of its own, in a process and a PostgreSQL of its own, so that the sizes too are measured in turns.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import pairwise

from bench.harness.command import main
from bench.harness.lab import scratch
from bench.harness.measure import Contender, Cost, Measured, in_turns, require
from bench.harness.remote import Remote
from bench.harness.row import Row, Target
from bench.harness.scale import Scale

BURST = 60_000
NOTHING = 1.5
"""What `changes nothing` may come to between two servers on a machine with neighbours."""


def rows(scale: Scale) -> Iterator[Row]:
    """Yield the growth of run and claim, then the burst."""
    sizes = scale.pick(
        smoke=(200, 400), quick=(10_000, 200_000), full=(10_000, 100_000, 1_000_000, 5_000_000)
    )
    limit = scale.pick(smoke=20, quick=500, full=500)
    burst = scale.pick(smoke=100, quick=6_000, full=BURST)
    largest = sizes[-1] if scale.size != "full" else sizes[-2]
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        fleets = {f"{size:,} mirrors": (size, 0) for size in sizes}
        fleets[crowded := f"{burst:,} of one host before {largest:,} mirrors"] = (largest, burst)
        remotes: dict[str, Remote] = {}
        for name, (size, extra) in fleets.items():
            words = [sys.executable, "-m", "bench.fleet_turns", size, extra, limit, scale.seed]
            remotes[name] = Remote(name, words, log=folder / f"{size}-{extra}.log")
        for remote in remotes.values():  # By now all of them make their fleets.
            stack.enter_context(remote)
        runs, claims = (_measure(remotes, verb, limit, scale) for verb in ("run", "claim"))
    rows_of = partial(_row, limit=limit, sizes={name: sum(size) for name, size in fleets.items()})
    first, *others = (f"{size:,} mirrors" for size in sizes)
    for name in others:
        yield rows_of("growth-run", f"a scheduler run of {limit}", runs[name], runs[first])
    for before, name in pairwise([first, *others]):
        yield rows_of("growth-claim", f"a claim of {limit}", claims[name], claims[before])
    without = claims[f"{largest:,} mirrors"]
    yield rows_of("growth-burst", f"a claim of {limit}", claims[crowded], without, target=NOTHING)


def _measure(remotes: dict[str, Remote], verb: str, limit: int, scale: Scale) -> dict[str, Measured]:
    def turn(remote: Remote) -> Cost:
        answer = remote.turn(verb)
        require(answer["done"] == limit, otherwise=f"{answer['done']} mirrors were taken, not {limit}")
        return Cost(wall=answer["seconds"], cpu=0.0)

    contenders = [Contender(name, partial(turn, remote)) for name, remote in remotes.items()]
    return {
        measured.name: measured for measured in in_turns(contenders, rounds=scale.rounds, seed=scale.seed)
    }


def _row(
    row: str,
    what: str,
    ours: Measured,
    peer: Measured,
    *,
    limit: int,
    sizes: Mapping[str, int],
    target: float = 2,
) -> Row:
    return Row(
        row=row,
        what=f"{what}, {ours.name}",
        peer_name=f"the same, {peer.name}",
        unit="µs a mirror",
        ours=ours.wall * 1e6 / limit,
        peer=peer.wall * 1e6 / limit,
        target=target,
        kind=Target.AT_MOST,
        size=sizes[ours.name],
        peer_size=sizes[peer.name],
    )


if __name__ == "__main__":
    main("growth", rows)
