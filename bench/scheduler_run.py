"""A whole run of the scheduler (select, claim, admit, enqueue): ours against the same for each mirror by itself."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from bench.harness import fleet
from bench.harness.command import main
from bench.harness.lab import Lab, lab
from bench.harness.measure import Contender, Measured, in_turns, require
from bench.harness.row import Row, Target
from bench.harness.scale import Scale
from bench.peers import gitlab, per_mirror

QUEUE = "mirroring:scheduling"
LEASE = timedelta(hours=1)
EACH, TOGETHER = "ORM, script, save, apply_async", "the same, in one transaction and one kombu batch"
WHY = {
    EACH: "the defaults: each mirror by itself",
    TOGETHER: "best settings that keep its shape: one commit for all rows, messages flushed in thousands",
}


@dataclass
class Stage:
    """The rows, the stores and the size of a run."""

    place: Lab
    jobs: int
    now: datetime

    def reset(self) -> None:
        """Put everything back to before a run."""
        from django.db.models import F

        from mirroring.models import ImportState

        ImportState.objects.filter(claim_expires_at__isnull=False).update(
            import_due_at=F("next_execution_at"), claimed_at=None, claim_expires_at=None
        )
        self.place.redis.delete(QUEUE, gitlab.KEY, "{mirroring}:processing")

    def rest(self) -> None:
        """Let what is claimed come to rest, due later."""
        from mirroring.models import ImportState

        ImportState.objects.filter(claim_expires_at__isnull=False).update(
            import_due_at=self.now + LEASE, claimed_at=None, claim_expires_at=None
        )

    def check(self) -> None:
        """Raise Void unless every job was claimed, counted and sent once."""
        from mirroring.models import ImportState

        claimed = ImportState.objects.filter(claim_expires_at__isnull=False).count()
        counted = self.place.redis.scard(gitlab.KEY) + self.place.redis.zcard("{mirroring}:processing")
        sent = self.place.redis.llen(QUEUE)
        require(
            claimed == counted == sent == self.jobs,
            otherwise=f"claimed {claimed}, counted {counted}, sent {sent} of {self.jobs} mirrors",
        )


def rows(scale: Scale) -> Iterator[Row]:
    """Yield a row for each peer."""
    jobs = scale.pick(smoke=20, quick=500, full=500)
    mirrors = scale.pick(smoke=200, quick=50_000, full=1_000_000)
    with lab(scale.pick(smoke="sqlite", quick="postgresql", full="postgresql")) as place:
        stage = prepare(place, jobs=jobs)
        fleet.make(mirrors, now=stage.now, seed=scale.seed)
        fleet.tidy()
        ours, *others = in_turns(_contenders(stage), rounds=scale.rounds, seed=scale.seed)
    for peer in others:
        yield _row(ours, peer, jobs=jobs, mirrors=mirrors)


def prepare(place: Lab, *, jobs: int) -> Stage:
    """Make the stores ready for runs of this many jobs, with both flags on."""
    from mirroring.flags.changes import set_flag
    from mirroring.flags.registry import FlagName
    from mirroring.models import SchedulingSettings
    from mirroring.tracker.connection import connect

    tracker = connect()
    tracker.rebuild(processing=[], importing=[])
    tracker.announce("bench", slots=jobs, flags={}, life=timedelta(days=1))
    SchedulingSettings(mirror_max_capacity=jobs, lease_seconds=LEASE.seconds).save()
    for name in FlagName:
        if name.endswith("_job_tracker"):  # As far as they are still there: one that is gone is on.
            set_flag(name, on=True, by="bench", force=True)
    return Stage(place, jobs, tracker.now())


def once(place: Lab) -> Callable[[], object]:
    """Return a run of the scheduler as its task does it, but for the leader's stay, which waits and does no work."""
    from mirroring import publish, tasks
    from mirroring.models import ImportState
    from mirroring.scheduler import dispatch
    from mirroring.tracker.job_tracker import JobTracker

    class Leaving(JobTracker):
        """A tracker whose leader hears nothing, and leaves."""

        def listen(self, patience: timedelta) -> bool:
            return False

    def enqueue(claims: Sequence[Any]) -> None:
        jobs = ((claim.mirror_id, claim.epoch) for claim in claims)
        publish.publish(tasks.project_import_schedule, jobs, queue="scheduling")

    return partial(
        dispatch.update_all_mirrors,
        tracker=Leaving(place.redis),
        broker=dispatch.Broker(enqueue=enqueue, waiting=lambda: 0),
        owner="bench",
        due=ImportState.objects.claim_due,
        rerun=lambda: None,
    )


def _contenders(stage: Stage) -> list[Contender]:
    from mirroring import tasks

    theirs = gitlab.SetTracker(stage.place.redis, size=10 * stage.jobs)
    send = tasks.project_import_schedule.apply_async

    def each(send: Callable[..., object] = send) -> int:
        until = stage.now + LEASE
        return per_mirror.run(stage.jobs, now=stage.now, until=until, tracker=theirs, send=send)

    def together() -> None:
        from django.db import transaction

        pool = tasks.project_import_schedule.app.producer_or_acquire()
        with pool as producer, transaction.atomic(), producer.batch(max_size=1000):
            each(lambda arguments: send(arguments, producer=producer))

    ways: dict[str, Callable[[], object]] = {
        "ours": once(stage.place),
        EACH: each,
        TOGETHER: together,
    }
    return [Contender(name, run, before=stage.reset, check=stage.check) for name, run in ways.items()]


def _row(ours: Measured, peer: Measured, *, jobs: int, mirrors: int) -> Row:
    return Row(
        row="scheduler-run",
        what=f"a scheduler run of {jobs} out of {mirrors:,} due",
        peer_name=peer.name,
        unit="ms",
        ours=ours.wall * 1e3,
        peer=peer.wall * 1e3,
        target=10 if peer.name == EACH else 0,
        kind=Target.AT_LEAST if peer.name == EACH else Target.STATED,
        size=mirrors,
        why=WHY[peer.name],
    )


if __name__ == "__main__":
    main("scheduler_run", rows)
