"""The parts that the machines move: rows, tracker, queues, workers, and a clock that can be moved.

Every deadline is on the clock of the Redis server. To let time pass, all deadlines in Redis and in the rows are moved
back; to let the clock jump backwards, they are moved forward.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import F

from mirroring.models import Claim, Group, Host, ImportAttempt, ImportState, Mirror, SchedulingSettings
from mirroring.rules.hosts import Signal
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import IN_FLIGHT
from mirroring.scheduler import ending, importing, repair
from mirroring.scheduler.heartbeat import Heart, InFlight
from mirroring.tracker.connection import RunClock
from mirroring.tracker.job_tracker import TAG, JobTracker, Pool
from mirroring.upstream.git.process import StopHandle
from tests.making import build_mirror
from tests.scheduler.desk import Desk, to_the_door

LEASE = timedelta(seconds=60)
DELAY = timedelta(seconds=1)
HOSTS = ("one.example", "two.example", "three.example")
"""New ones: with so few slots, each begins with one."""

HOST_TIMES = ("cooling_until", "lowered_at")
TIMES = (
    "next_execution_at",
    "import_due_at",
    "claimed_at",
    "claim_expires_at",
    "last_update_scheduled_at",
    "last_update_started_at",
    "last_update_at",
)


@dataclass
class Running:
    """An import between its start and its end, in some worker."""

    claim: Claim
    stop: StopHandle
    exits: ExitStack


@dataclass
class Worker:
    """A worker process: its heart, and what runs in it."""

    name: str
    heart: Heart
    running: list[Running] = field(default_factory=list)


class Stage:
    """A small fleet with everything that happens to it."""

    def __init__(self, tracker: JobTracker, *, mirrors: int, slots: int) -> None:
        self.tracker = tracker
        tracker._client.flushall()
        for model in (ImportAttempt, ImportState, Mirror, Group, Host):
            model.objects.all().delete()
        settings = SchedulingSettings.current()
        settings.mirror_max_capacity, settings.lease_seconds = 3, int(LEASE.total_seconds())
        settings.mirror_min_delay_seconds = settings.mirror_max_delay_seconds = int(DELAY.total_seconds())
        settings.reschedule_wait_seconds = settings.schedule_wait_timeout_seconds = 0
        settings.mirror_jitter_seconds, settings.mirror_max_retry = 0, 1_000_000
        settings.paused_all = settings.silent_mode = False
        settings.save()
        now = tracker.now()
        self.hosts = [Host.objects.create(name=name) for name in HOSTS]
        self.mirrors = [
            build_mirror(
                url=f"https://{HOSTS[number % len(HOSTS)]}/x.git", next_execution_at=now, import_due_at=now
            )
            for number in range(mirrors)
        ]
        self.desk = Desk(tracker)
        self.imports: list[Claim] = []
        self.sent: list[tuple[str, Claim]] = []
        self.workers: list[Worker] = []
        self.zombies: list[tuple[Worker, Running]] = []
        self.slots = slots
        self.repair()
        for _ in range(2):
            self.start_worker()

    # -- steps of the product ---------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Run update_all_mirrors."""
        before = len(self.desk.sent)
        self.desk.run()
        self.sent += [("scheduling", claim) for claim in self.desk.sent[before:]]

    def door(self, claim: Claim) -> None:
        """Run project_import_schedule."""
        before = len(self.imports)
        to_the_door(claim, self.tracker, self.imports.append)
        self.sent += [("imports", claim) for claim in self.imports[before:]]

    def begin(self, worker: Worker, claim: Claim) -> None:
        """Run update_mirror as far as the git work."""
        place = self.place(worker)
        if not self.tracker.renew([claim.token], lease=LEASE):
            importing._without_slot(claim, place=place)
        elif not importing._start(claim, place=place, lease=LEASE):
            importing._stale(claim, place=place)
        else:
            exits = ExitStack()
            stop = exits.enter_context(worker.heart.in_flight.entry(claim))
            worker.running.append(Running(claim, stop, exits))

    def finish(
        self, worker: Worker, running: Running, outcome: Outcome, signal: Signal = Signal.ANSWERS
    ) -> None:
        """Run update_mirror from the git work to its end; one that was stopped ends as its stop says."""
        worker.running.remove(running)
        running.exits.close()
        place = self.place(worker)
        stopped = running.stop.stopped
        how = ending.Ending(stopped.outcome) if stopped else ending.Ending(outcome, signal=signal)
        importing._end(
            running.claim,
            how,
            host_id=Mirror.objects.get(pk=running.claim.mirror_id).host_id,
            began=self.tracker.now(),
            configured=SchedulingSettings.current(),
            place=place,
        )

    def fail(self, host: Host, *, times: int) -> None:
        """Let imports of a host find nobody there."""
        now, configured = self.tracker.now(), SchedulingSettings.current()
        how = ending.Ending(Outcome.TRANSIENT, "connection refused", signal=Signal.UNREACHABLE)
        for _ in range(times):
            ending.tell_host(host.pk, how, began=now, configured=configured, now=now)

    def place(self, worker: Worker) -> importing.Place:
        """Return where an import of this worker runs."""
        return importing.Place(
            tracker=self.tracker,
            clock=RunClock(self.tracker.now()),
            in_flight=worker.heart.in_flight,
            worker=worker.name,
            wake=lambda: None,
        )

    def repair(self) -> None:
        """Run repair."""
        repair.repair(
            clock=RunClock(self.tracker.now()),
            tracker=self.tracker,
            owner="repairer",
            next_due=ending.next_due,
            wake=lambda: None,
        )

    # -- workers ----------------------------------------------------------------------------------------------------

    def start_worker(self) -> Worker:
        """Start a worker and let its heart beat once."""
        name = f"worker-{len(self.workers)}-{id(self)}"
        heart = Heart(name=name, slots=self.slots, tracker=self.tracker, in_flight=InFlight())
        worker = Worker(name, heart)
        self.workers.append(worker)
        worker.heart.beat()
        return worker

    def crash(self, worker: Worker) -> None:
        """Let a worker vanish; what ran in it may come back, as after a long stop."""
        self.workers.remove(worker)
        self.zombies += [(worker, running) for running in worker.running]

    # -- time -------------------------------------------------------------------------------------------------------

    def pass_time(self, span: timedelta) -> None:
        """Let time pass; a negative span lets the server's clock jump backwards."""
        client, milliseconds = self.tracker._client, span / timedelta(milliseconds=1)
        for key in ("importing", "processing", "workers", "leader", "repairer"):
            for member, _ in client.zrange(f"{TAG}:{key}", 0, -1, withscores=True):
                client.zincrby(f"{TAG}:{key}", -milliseconds, member)
        client.delete(f"{TAG}:wake")
        for model, names in ((ImportState, TIMES), (Host, HOST_TIMES)):
            if span > timedelta(0):
                model.objects.update(**{name: F(name) - span for name in names})
            else:
                model.objects.update(**{name: F(name) + -span for name in names})

    # -- what can be seen ---------------------------------------------------------------------------------------------

    def live(self, pool: Pool) -> set[str]:
        """Return the tokens of the leases that run."""
        now = self.tracker.now()
        return {lease.token for lease in self.tracker.leases(pool) if lease.deadline > now}

    def flying(self, *, for_at_least: timedelta = timedelta(0)) -> set[str]:
        """Return the tokens of the rows in flight whose claim stands, for a while yet."""
        until = self.tracker.now() + for_at_least
        rows = ImportState.objects.filter(status__in=IN_FLIGHT, claim_expires_at__gt=until)
        return {row.claim.token for row in rows}

    def capacity(self) -> int:
        """Return the capacity in force."""
        setting = SchedulingSettings.current().mirror_max_capacity
        return self.tracker.counts(max_capacity=setting).capacity

    def limits(self) -> dict[int, int]:
        """Return what each host may hold at the door, which does not know the capacity in force."""
        configured = SchedulingSettings.current()
        bounds = configured.host_bounds(configured.mirror_max_capacity)
        return Host.objects.limits([host.pk for host in self.hosts], bounds=bounds, now=self.now())

    def importing_by_host(self) -> dict[int, set[str]]:
        """Return the live importing slots of each host."""
        host_of = dict(Mirror.objects.values_list("pk", "host_id"))
        tokens: dict[int, set[str]] = {host.pk: set() for host in self.hosts}
        for token in self.live(Pool.IMPORTING):
            tokens[host_of[Claim.of_token(token).mirror_id]].add(token)
        return tokens

    def ready(self) -> bool:
        """Tell whether the tracker trusts its counts."""
        return self.tracker.counts(max_capacity=0).ready

    def set_capacity(self, number: int) -> None:
        """Change the setting."""
        SchedulingSettings.objects.filter(pk=1).update(mirror_max_capacity=number)

    def now(self) -> datetime:
        """Return the time of the server."""
        return self.tracker.now()
