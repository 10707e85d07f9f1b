"""Enqueue jobs in bulk: our `publish` against a loop of `apply_async`, and Sidekiq's `push_bulk` beside it."""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence

from bench.harness.command import main
from bench.harness.lab import Lab, lab
from bench.harness.measure import Contender, Measured, in_turns, require
from bench.harness.row import Row, Target
from bench.harness.scale import Scale
from bench.peers import enqueue as peers
from bench.peers import sidekiq

QUEUE = "scheduling"
KEY = f"mirroring:{QUEUE}"

LOOP, BATCH = "apply_async loop", "apply_async, kombu batch"
WHY = {
    LOOP: "the defaults: one call and one round trip a job",
    BATCH: "best setting: the same calls, flushed by kombu in thousands",
    sidekiq.NAME: "Ruby: push_bulk by 1,000, whose messages are a sixth of Celery's in size",
}


def rows(scale: Scale) -> Iterator[Row]:
    """Yield a row for each peer."""
    jobs = [(mirror, mirror % 7 + 1) for mirror in range(scale.pick(smoke=50, quick=2_000, full=10_000))]
    with lab("sqlite") as place:
        ours, *others = in_turns(_contenders(place, jobs), rounds=scale.rounds, seed=scale.seed)
        install = scale.size != "smoke"
        bulk = sidekiq.measure(place, jobs=len(jobs), rounds=scale.rounds, install=install)
    for peer in [*others, bulk]:
        yield _row(ours, peer, jobs=len(jobs))


def _contenders(place: Lab, jobs: Sequence[Sequence[int]]) -> list[Contender]:
    from mirroring import publish
    from mirroring.tasks import project_import_schedule as task

    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: publish.publish(task, jobs, queue=QUEUE),
        LOOP: lambda: peers.apply_async_loop(task, jobs),
        BATCH: lambda: peers.apply_async_batch(task, jobs),
    }
    return [
        Contender(name, run, before=lambda: place.redis.delete(KEY), check=lambda: check(place, jobs))
        for name, run in ways.items()
    ]


def check(place: Lab, jobs: Sequence[Sequence[int]]) -> None:
    """Raise Void unless the queue holds every job once, under ids that differ."""
    messages = [json.loads(message) for message in place.redis.lrange(KEY, 0, -1)]
    sent = sorted(tuple(json.loads(b64decode(message["body"]))[0]) for message in messages)
    require(sent == sorted(map(tuple, jobs)), otherwise=f"{len(sent)} jobs in the queue, not the {len(jobs)}")
    ids = {message["headers"]["id"] for message in messages}
    require(len(ids) == len(jobs), otherwise="two jobs have one id")


def _row(ours: Measured, peer: Measured | None, *, jobs: int) -> Row:
    name = peer.name if peer else sidekiq.NAME
    return Row(
        row="enqueue",
        what=f"enqueue {jobs:,} jobs",
        peer_name=name,
        unit="µs a job",
        ours=ours.wall / jobs * 1e6,
        peer=peer.wall / jobs * 1e6 if peer else 0,
        target=5 if name == LOOP else 0,
        kind=Target.AT_LEAST if name == LOOP else Target.STATED,
        size=jobs,
        why=WHY[name] if peer else sidekiq.MISSING,
    )


if __name__ == "__main__":
    main("enqueue", rows)
