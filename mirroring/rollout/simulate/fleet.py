"""The simulated service: mirrors, a broker, workers that take their time and may die. The scheduler is the real one."""

import random
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from mirroring.models import Claim, Group, Host, ImportState, Mirror, SchedulingSettings
from mirroring.rollout.simulate.load import Load
from mirroring.rollout.simulate.log import Log
from mirroring.rollout.simulate.world import World, WorldClock
from mirroring.rules.cadence import Dice, next_execution
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import Status
from mirroring.scheduler import dispatch, repair, scheduling
from mirroring.tracker.count_at_start import CountAtStart
from mirroring.tracker.job_tracker import JobTracker

BEAT_SECONDS = 2.0
HOSTS = 20
PREFETCHED = 1
"""Messages that each scheduling thread holds ahead of its work; the broker does not count them as waiting."""


class Fleet:
    """One arm of a simulation, from its first tick on."""

    def __init__(self, load: Load, *, world: World, tracker: JobTracker, log: Log) -> None:
        self.load, self.world, self.tracker, self.log = load, world, tracker, log
        self.dice: random.Random = load.dice()
        self.queue: deque[Claim] = deque()
        self.idle = load.scheduling_threads
        self.running: set[Claim] = set()
        self.runs = 0
        self.configured = _furnish(load, world)

    def live(self) -> None:
        """Begin: workers announce themselves, ticks come."""
        self._beat()
        self.tracker.rebuild(processing=[], importing=[])
        self.world.every(BEAT_SECONDS, self._beat)
        self.world.every(self.configured.repair_tick_seconds, self._repair)
        self.world.every(self.configured.tick_seconds, self._dispatch)

    # -- the control worker -----------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        self.runs += 1
        dispatch.update_all_mirrors(
            clock=lambda at: WorldClock(self.world),
            tracker=self.tracker,
            broker=dispatch.Broker(enqueue=self._enqueue, waiting=self._waiting),
            owner=f"run {self.runs}",
            due=ImportState.objects.claim_due,
            rerun=self._send_wake_up,
            sleep=self.world.sleep,
        )

    def _send_wake_up(self) -> None:
        self.log.message(1)
        self.world.after(self.load.broker_delay, self._dispatch)

    def _wake(self) -> None:
        if self.tracker.knock():
            self._send_wake_up()

    def _repair(self) -> None:
        self.runs += 1
        repair.repair(
            clock=WorldClock(self.world),
            tracker=self.tracker,
            owner=f"repair {self.runs}",
            next_due=self._next_due,
            wake=self._wake,
        )

    # -- the scheduling worker --------------------------------------------------------------------------------------

    def _enqueue(self, claims: Sequence[Claim]) -> None:
        self.log.enqueued(claims)
        for claim in claims:
            self.world.after(self.load.broker_delay, lambda claim=claim: self._deliver(claim))  # type: ignore[misc]

    def _deliver(self, claim: Claim) -> None:
        self.queue.append(claim)
        self._take()

    def _waiting(self) -> int:
        self.log.asked_broker()
        return max(0, len(self.queue) - PREFETCHED * self.load.scheduling_threads)

    def _take(self) -> None:
        if self.idle and self.queue:
            self.idle -= 1
            claim = self.queue.popleft()
            if isinstance(self.tracker, CountAtStart):
                self.tracker.note_start(claim.token)
            self.world.after(self.load.job_seconds, lambda: self._schedule(claim))

    def _schedule(self, claim: Claim) -> None:
        self.idle += 1
        self.log.handed_over(claim)
        if self.dice.random() >= self.load.killed:  # Else the process is killed here: its message is lost.
            scheduling.project_import_schedule(
                claim, now=self.world.now, tracker=self.tracker, enqueue=self._enqueue_import
            )
        self._take()

    # -- the importing worker ---------------------------------------------------------------------------------------

    def _enqueue_import(self, claim: Claim) -> None:
        self.log.message(1)
        self.log.admitted(claim)
        self.world.after(self.load.broker_delay, lambda: self._import(claim))

    def _import(self, claim: Claim) -> None:
        if not self.tracker.renew([claim.token], lease=self.configured.lease):
            self.log.ended(claim)
            return
        now = self.world.now
        if ImportState.objects.start(claim, now=now, until=now + self.configured.lease):
            self.running.add(claim)
            took = self.load.duration(self.dice)
            self.world.after(took, lambda: self._end(claim, timedelta(seconds=took)))

    def _end(self, claim: Claim, took: timedelta) -> None:
        self.running.discard(claim)
        failed = self.dice.random() < self.load.failing
        row = ImportState.objects.get(pk=claim.mirror_id)
        retries = row.retry_count + 1 if failed else 0
        ImportState.objects.held(claim, now=self.world.now).settle(
            Status.FAILED if failed else Status.FINISHED,
            now=self.world.now,
            outcome=Outcome.TRANSIENT if failed else Outcome.UNCHANGED,
            next_execution_at=self._next_due(
                now=self.world.now, duration=took, retry_count=retries, configured=self.configured
            ),
            retry_count=retries,
        )
        self.log.ended(claim, failed=failed)
        if self.tracker.release(claim.token):
            self._send_wake_up()

    def _beat(self) -> None:
        now, lease = self.world.now, self.configured.lease
        self.tracker.announce("simulated", slots=self.load.capacity, flags={}, life=lease)
        if self.running:
            claims = sorted(self.running, key=lambda claim: claim.mirror_id)
            self.tracker.renew([claim.token for claim in claims], lease=lease)
            ImportState.objects.renew(claims, now=now, until=now + lease)

    def _next_due(
        self, *, now: datetime, duration: timedelta, retry_count: int, configured: SchedulingSettings
    ) -> datetime:
        roll = self.dice.random
        dice = Dice(backoff=roll(), floor=roll(), ceiling=roll())
        cadence = configured.cadence
        return next_execution(now=now, duration=duration, retry_count=retry_count, cadence=cadence, dice=dice)


def _furnish(load: Load, world: World) -> SchedulingSettings:
    """Fill the empty database: settings, and mirrors that are due within the first seconds."""
    # No bound of a host is to hide what the capacity does.
    unbound = {"mirror_host_share_percent": 100, "mirror_host_adaptive": False}
    configured = SchedulingSettings(**{**load.settings, **unbound, "mirror_max_capacity": load.capacity})
    configured.save()
    group = Group.objects.create(name="simulated")
    hosts = Host.objects.bulk_create([Host(name=f"{number}.upstream.example") for number in range(HOSTS)])
    numbers = range(load.mirrors)
    mirrors = [
        Mirror(
            group=group,
            host=hosts[number % HOSTS],
            name=f"m{number}",
            url=f"https://upstream.example/{number}.git",
        )
        for number in numbers
    ]
    dice = load.dice()
    due = [world.now + timedelta(seconds=10 * dice.random()) for _ in numbers]
    states = [
        ImportState(mirror=mirror, host=mirror.host, next_execution_at=at, import_due_at=at)
        for mirror, at in zip(Mirror.objects.bulk_create(mirrors), due, strict=True)
    ]
    ImportState.objects.bulk_create(states)
    return configured
