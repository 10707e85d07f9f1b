"""Admit and release jobs: our batch scripts against one script call a job, and what the server pays as it fills."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from statistics import median
from typing import Any

from bench.harness.command import main
from bench.harness.lab import Lab, lab
from bench.harness.measure import Contender, Measured, in_turns, require
from bench.harness.row import Row, Target
from bench.harness.scale import Scale
from bench.peers import gitlab

BATCH = 500
LEASE = timedelta(hours=1)
CAPACITY = 1_000_000
HELD_FROM = 10_000_000
HELD, FEW, MANY = 1000, 10, 100_000

CAPPED, HOSTS = "ours, with caps for each host", 50
ONE_CALL, PIPELINE = "GitLab's script, one call a job", "GitLab's script, pipelined"
WHY = {
    ONE_CALL: "how GitLab calls it",
    PIPELINE: "best setting: the same calls, 500 to a round trip, which GitLab's own class cannot do",
}


def rows(scale: Scale) -> Iterator[Row]:
    """Yield the rows of the tracker."""
    with lab("sqlite") as place:
        yield from _against_one_call(place, scale)
        yield _as_it_fills(place, scale)


def _tokens(first: int, count: int = BATCH) -> list[str]:
    return [f"{number}:1" for number in range(first, first + count)]


def ready_tracker(place: Lab, *, held: int) -> Any:
    """Return the product's tracker with room for all, which holds this many jobs, half of them importing."""
    from mirroring.tracker.connection import connect
    from mirroring.tracker.job_tracker import Pool

    place.redis.flushall()
    tracker = connect()
    tracker.rebuild(processing=[], importing=[])
    tracker.announce("bench", slots=CAPACITY, flags={}, life=LEASE)
    # Not by `rebuild`: a script with so many arguments leaves the server tidying up for seconds.
    deadline = (tracker.now() + LEASE).timestamp() * 1000
    for at in range(0, held, 2 * BATCH):
        count = min(BATCH, (held - at) // 2)
        for offset, pool in ((HELD_FROM, Pool.IMPORTING), (2 * HELD_FROM, Pool.PROCESSING)):
            place.redis.zadd(f"{{mirroring}}:{pool}", dict.fromkeys(_tokens(offset + at, count), deadline))
    return tracker


def admit_and_release(tracker: Any, tokens: list[str], *, hosts: int = 0) -> None:
    """Take a batch through the tracker, in and out again; with `hosts`, each job within what its host may hold."""
    from mirroring.tracker.values import Room

    rooms = [Room(host=number % hosts + 1, slots=CAPACITY) for number in range(len(tokens))] if hosts else []
    admitted = tracker.admit(tokens, capacity=CAPACITY, lease=LEASE, enforce=True, rooms=rooms) or []
    require(admitted == tokens, otherwise=f"{len(admitted)} of {len(tokens)} were admitted")
    tracker.release(*tokens)


def _against_one_call(place: Lab, scale: Scale) -> Iterator[Row]:
    tracker, theirs = ready_tracker(place, held=HELD), gitlab.SetTracker(place.redis, size=CAPACITY)
    place.redis.sadd(gitlab.KEY, *_tokens(HELD_FROM, HELD))
    batches = scale.pick(smoke=1, quick=4, full=20)
    tokens = _tokens(1)

    def nothing_left() -> None:
        counts = tracker.counts(max_capacity=CAPACITY)
        left = place.redis.scard(gitlab.KEY) + counts.importing + counts.processing - 2 * HELD
        require(left == 0, otherwise=f"{left} jobs were left behind")

    ways: dict[str, Callable[[list[str]], None]] = {
        "ours": partial(admit_and_release, tracker),
        CAPPED: partial(admit_and_release, tracker, hosts=HOSTS),
        ONE_CALL: theirs.one_by_one,
        PIPELINE: theirs.in_pipelines,
    }
    contenders = [
        Contender(name, partial(_repeat, way, tokens, batches), check=nothing_left)
        for name, way in ways.items()
    ]
    ours, capped, *others = in_turns(contenders, rounds=scale.rounds, seed=scale.seed)
    for peer in others:
        yield _row("", ours, peer, target=25, jobs=batches * len(tokens))
    yield _row(f", {HOSTS} hosts with caps", capped, others[0], target=5, jobs=batches * len(tokens))


def _repeat(way: Callable[[list[str]], None], tokens: list[str], times: int) -> None:
    for _ in range(times):
        way(tokens)


def _row(how: str, ours: Measured, peer: Measured, *, target: float, jobs: int) -> Row:
    aims = peer.name == ONE_CALL
    return Row(
        row="tracker-hosts" if how else "tracker",
        what=f"admit + release a job{how}",
        peer_name=peer.name,
        unit="µs a job",
        ours=ours.wall / jobs * 1e6,
        peer=peer.wall / jobs * 1e6,
        target=target if aims else 0,
        kind=Target.AT_LEAST if aims else Target.STATED,
        size=BATCH,
        why=WHY[peer.name],
    )


def _as_it_fills(place: Lab, scale: Scale) -> Row:
    """Compare the server's own time for a batch when it holds few and many."""
    spent: dict[int, list[float]] = {FEW: [], MANY: []}
    for _ in range(scale.pick(smoke=1, quick=5, full=9)):
        for held, times in spent.items():
            tracker = ready_tracker(place, held=held)
            times.append(_server_microseconds(place, tracker, batches=scale.pick(smoke=2, quick=20, full=50)))
    return Row(
        row="tracker-flat",
        what=f"the server's time for a job, {MANY:,} held",
        peer_name=f"the same with {FEW} held",
        unit="µs CPU a job",
        ours=median(spent[MANY]),
        peer=median(spent[FEW]),
        target=2,
        kind=Target.AT_MOST,
        size=MANY,
        why="CPU time of the server's main thread",
    )


def _server_microseconds(place: Lab, tracker: Any, *, batches: int) -> float:
    for _ in range(batches):
        admit_and_release(tracker, _tokens(1))
    before = _server_cpu(place)
    for _ in range(batches):
        admit_and_release(tracker, _tokens(1))
    return (_server_cpu(place) - before) / batches / BATCH * 1e6


def _server_cpu(place: Lab) -> float:
    """Return the CPU seconds of the thread that runs commands; wall clock would count the neighbours too."""
    used: Any = place.redis.info("cpu")
    return float(used["used_cpu_user_main_thread"] + used["used_cpu_sys_main_thread"])


if __name__ == "__main__":
    main("tracker", rows)
