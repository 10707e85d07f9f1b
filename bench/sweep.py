"""Sweep a fleet once, whole stack: ours against a Celery task with `git fetch` a mirror, xargs, and grok-pull."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from random import Random

from bench.harness import upstreams
from bench.harness.changes import Changing
from bench.harness.command import main
from bench.harness.lab import Lab, lab
from bench.harness.measure import Cost, Measured, in_turns, require
from bench.harness.process_cpu import Stopwatch
from bench.harness.row import Row, Target
from bench.harness.scale import Scale
from bench.harness.stack import Stack, running, wait_until
from bench.harness.upstreams import Served
from bench.peers import fetchers, git_client, grokmirror

PATIENCE_SECONDS = 3600.0
SLOTS = 4
MANY = 1_000
REST = timedelta(days=1)
CELERY, XARGS = "Celery, a git fetch a task", "xargs -P2 git fetch"
WHY = {
    CELERY: "prefork with two children on two cores; events off; its messages enqueued in one batch",
    XARGS: "best settings: no scheduler at all, lean flags, two at a time",
    **grokmirror.WHY,
}


@dataclass(frozen=True)
class Case:
    """A kind of sweep: by which upstream, and the share of mirrors that changed. Targets: wall clock, client CPU.

    `manifest`: grok-pull takes part. `smoke`: one that a smoke run has, too.
    """

    name: str
    what: str
    changed: float
    wall: float
    cpu: float = 0
    memory: bool = False
    manifest: bool = False
    smoke: bool = False


CASES = (
    Case("sweep-backend", "unchanged but for 1 %, git http-backend", 0.01, wall=6, cpu=30),
    Case(
        "sweep-memory", "unchanged but for 1 %, answers from memory", 0.01, wall=50, memory=True, smoke=True
    ),
    Case("sweep-tenth", "10 % changed, git http-backend", 0.1, wall=4, manifest=True, smoke=True),
    Case("sweep-all", "all changed, git http-backend", 1.0, wall=1, manifest=True),
)


def rows(scale: Scale) -> Iterator[Row]:
    """Yield the rows of every kind of sweep."""
    counts = scale.pick(smoke=(6,), quick=(50,), full=(500, 5_000))
    with (
        lab(scale.pick(smoke="sqlite", quick="postgresql", full="postgresql")) as place,
        running(place, slots=SLOTS) as workers,
    ):
        for count, memory in product(counts, (False, True)):
            cases = [
                case for case in CASES if case.memory is memory and (case.smoke or scale.size != "smoke")
            ]
            if count > MANY:
                cases = cases[:1]  # What changed costs a mirror the same in any fleet.
            with _stage(workers, cases, count=count, scale=scale) as stage:
                for case in cases:
                    yield from _sweep(stage, case, scale)


@dataclass
class Stage:
    """Everything that runs during the sweeps of one kind of upstream."""

    place: Lab
    served: Served
    stack: Stack
    mirrors: list[int]
    celery: fetchers.CeleryFetcher
    xargs: fetchers.XargsFetcher
    groks: list[grokmirror.GrokFetcher]


@contextmanager
def _stage(workers: Stack, cases: Sequence[Case], *, count: int, scale: Scale) -> Iterator[Stage]:
    place, memory = workers.place, cases[0].memory
    folder = place.folder / f"{'memory' if memory else 'backend'}-{count}"
    folder.mkdir()
    with ExitStack() as stack:
        making = (
            upstreams.memory(folder, count=count, refs=10)
            if memory
            else upstreams.backend(folder, count=count, refs=10, seed=scale.seed)
        )
        grok = grokmirror.beside(stack.enter_context(making), folder, _groks(cases, scale))
        served, groks = stack.enter_context(grok)
        _configure()
        upstreams.add(served.urls, group=folder.name)
        workers.tick()
        mirrors = _await_first_imports(folder.name, count, workers)
        celery = stack.enter_context(fetchers.CeleryFetcher(place, folder / "celery", served.urls))
        xargs = fetchers.XargsFetcher(folder / "xargs", served.urls)
        yield Stage(place, served, workers, mirrors, celery, xargs, groks)


def _groks(cases: Sequence[Case], scale: Scale) -> Sequence[str]:
    """Return which kinds of grok-pull take part: each has its pauses, of which a smoke run wants few."""
    if not any(case.manifest for case in cases):
        return ()
    return scale.pick(smoke=(grokmirror.BEST,), quick=grokmirror.NAMES, full=grokmirror.NAMES)


def _configure() -> None:
    from mirroring.flags.changes import set_flag
    from mirroring.flags.registry import FlagName
    from mirroring.models import SchedulingSettings

    SchedulingSettings(
        mirror_max_capacity=SLOTS,
        mirror_min_delay_seconds=REST.days * 86_400,
        mirror_max_delay_seconds=REST.days * 86_400,
        mirror_host_share_percent=100,
        mirror_host_adaptive=False,
    ).save()
    for name in FlagName:
        set_flag(name, on=True, by="bench", force=True)


def _await_first_imports(group: str, count: int, stack: Stack) -> list[int]:
    from mirroring.models import Mirror

    found = Mirror.objects.filter(group__name=group)
    wait_until(
        lambda: (
            found.filter(state__upstream_digest__isnull=False, state__claim_expires_at=None).count() == count
        ),
        seconds=PATIENCE_SECONDS,
        what=f"{count} first imports",
        watch=stack,
    )
    by_url = dict(found.values_list("url", "pk"))
    return [
        by_url[url]
        for url in sorted(by_url, key=lambda url: int(url.rpartition("/")[2].removesuffix(".git")))
    ]


def _sweep(stage: Stage, case: Case, scale: Scale) -> Iterator[Row]:
    fleet = Changing(stage.served, case.changed, Random(f"{scale.seed}/{case.name}"))
    ours = Ours(stage)
    contenders = [
        fleet.contender("ours", ours.sweep, ours.head_of),
        fleet.contender(CELERY, stage.celery.sweep, stage.celery.head_of),
        fleet.contender(XARGS, stage.xargs.sweep, stage.xargs.head_of),
    ]
    if case.manifest:
        contenders += [fleet.contender(grok.name, grok.sweep, grok.head_of) for grok in stage.groks]
    mine, *peers = in_turns(contenders, rounds=_rounds(scale, len(stage.mirrors)), seed=scale.seed)
    if case.manifest and not stage.groks:
        peers.append(Measured(grokmirror.BEST, ()))
    for peer in peers:
        yield row_of(case, mine, peer, len(stage.mirrors), cpu=False)
        yield row_of(case, mine, peer, len(stage.mirrors), cpu=True)


def _rounds(scale: Scale, count: int) -> int:
    """Return how often each contender sweeps: what takes minutes, less often."""
    return scale.pick(smoke=1, quick=2, full=1 if count > MANY else 5)


@dataclass
class Ours:
    """The product's stack: all mirrors are due for a check, until none is."""

    stage: Stage

    def sweep(self) -> Cost:
        """Make all due, and wait until all are at rest again."""
        from mirroring.models import ImportState
        from mirroring.tasks import check_mirrors
        from mirroring.tracker.connection import connect

        now = connect().now()
        # Asked for fifty times a second: thousands of ids in a statement would keep one of the cores busy.
        first, last = min(self.stage.mirrors), max(self.stage.mirrors)
        states = ImportState.objects.filter(mirror_id__gte=first, mirror_id__lte=last)
        watch = Stopwatch(self.stage.stack.pids)
        require(
            states.filter(claim_expires_at=None).update(check_due_at=now, import_due_at=None)
            == len(self.stage.mirrors),
            otherwise="some mirrors were not at rest",
        )
        check_mirrors.apply_async(queue="checks")
        at_work = states.exclude(check_due_at__gt=now + REST / 2)
        wait_until(
            lambda: not at_work.exists(),
            seconds=PATIENCE_SECONDS,
            what="all mirrors are at rest after a sweep",
            watch=self.stage.stack,
            every=0.02,  # As the peer is asked.
        )
        return watch.stop()

    def head_of(self, number: int) -> str:
        """Return what the mirror's default branch points at."""
        from mirroring.models import Mirror

        return git_client.head_of(Mirror.objects.get(pk=self.stage.mirrors[number]).repository)


def row_of(case: Case, ours: Measured, peer: Measured, count: int, *, cpu: bool) -> Row:
    """Return a row against a peer, also against one that is not there."""
    target = (case.cpu if cpu else case.wall) if peer.name == CELERY else 0
    return Row(
        row=f"{case.name}-cpu" if cpu else case.name,
        what=f"sweep of {count:,} mirrors, {case.what}{', client CPU' if cpu else ''}",
        peer_name=peer.name,
        unit="s CPU" if cpu else "s",
        ours=ours.cpu if cpu else ours.wall,
        peer=peer.cpu if cpu else peer.wall,
        target=target,
        kind=Target.AT_LEAST if target else Target.STATED,
        size=count,
        why=WHY[peer.name] if peer.turns else grokmirror.MISSING,
    )


if __name__ == "__main__":
    main("sweep", rows)
