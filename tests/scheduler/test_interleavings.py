"""The promises about slots under any order of events: jobs late, twice or lost, workers that die, flags that flip.

A walk takes random steps with the real tracker and the real rows; after each step the promises are checked.
"""

import random
from datetime import timedelta

import pytest

from mirroring.models import Claim, ImportState
from mirroring.rules.outcomes import Outcome
from mirroring.scheduler import repair
from mirroring.tracker.connection import RunClock
from mirroring.tracker.job_tracker import Pool
from tests.making import LEASE, build_mirror
from tests.scheduler.desk import POSITIONS, TRACKED, Desk, counts, to_the_door, turn
from tests.scheduler.workshop import LONG_AGO

MIRRORS = 14
CAPACITY = 4


class Walk:
    """One fleet of mirrors, its queues, and the steps that can happen to it."""

    def __init__(self, tracker, seed, *, flips=True):
        self.dice = random.Random(seed)
        self.tracker = tracker
        self.flips = flips
        self.desk = Desk(tracker)
        self.imports = []
        self.mirrors = [build_mirror() for _ in range(MIRRORS)]
        self.steps = [
            *[self.dispatch] * 4,
            *[self.door] * 8,
            *[self.start] * 6,
            *[self.finish] * 6,
            self.lose_a_message,
            self.let_a_claim_run_out,
            self.repair,
            self.flush,
            self.pause_or_resume,
            self.ask,
            self.flip,
        ]

    def step(self):
        self.dice.choice(self.steps)()
        self.check()

    def check(self):
        now = self.tracker.now()
        live = {lease.token for lease in self.tracker.leases(Pool.IMPORTING) if lease.deadline > now}
        flying = {row.claim.token for row in ImportState.objects.in_flight().filter(claim_expires_at__gt=now)}
        ready = self.tracker.counts(max_capacity=CAPACITY).ready
        assert len(flying) <= CAPACITY
        if ready:
            assert flying <= live
            assert len(live) <= CAPACITY

    def any_of(self, queue):
        """Take a message from a queue: the first or any other, and sometimes leave a copy behind."""
        if not queue:
            return None
        at = self.dice.randrange(len(queue))
        return queue[at] if self.dice.random() < 0.2 else queue.pop(at)

    def dispatch(self):
        self.desk.run()

    def door(self):
        if claim := self.any_of(self.desk.sent):
            to_the_door(claim, self.tracker, self.imports.append)

    def start(self):
        if not (claim := self.any_of(self.imports)):
            return
        now = self.tracker.now()
        if self.tracker.renew([claim.token], lease=LEASE):
            ImportState.objects.start(claim, now=now, until=now + LEASE)

    def finish(self):
        row = ImportState.objects.filter(status="started").order_by("?").first()
        if row:
            now = self.tracker.now()
            status, outcome = self.dice.choice(
                [("finished", Outcome.CHANGED), ("failed", Outcome.GONE), ("canceled", Outcome.CANCELED)]
            )
            due = now - timedelta(minutes=1)
            ImportState.objects.held(row.claim, now=now).settle(
                status, now=now, outcome=outcome, next_execution_at=due
            )
            self.tracker.release(row.claim.token)

    def lose_a_message(self):
        self.any_of(self.dice.choice([self.desk.sent, self.imports]))

    def let_a_claim_run_out(self):
        row = ImportState.objects.filter(claim_expires_at__isnull=False).order_by("?").first()
        if row:
            ImportState.objects.filter(pk=row.pk).update(claim_expires_at=LONG_AGO)

    def repair(self):
        repair.repair(
            clock=RunClock(self.tracker.now()),
            tracker=self.tracker,
            owner="repairer",
            next_due=lambda **_: self.tracker.now(),
            wake=lambda: None,
        )

    def flush(self):
        if self.dice.random() < 0.2:
            self.tracker._client.flushall()
            self.tracker.announce("worker", slots=100, flags={}, life=timedelta(hours=1))

    def pause_or_resume(self):
        rows = ImportState.objects.filter(pk=self.dice.choice(self.mirrors).pk)
        self.dice.choice([rows.deactivate, lambda: rows.activate(now=self.tracker.now())])()

    def ask(self):
        mirror = self.dice.choice(self.mirrors)
        ImportState.objects.filter(pk=mirror.pk).ask_now(now=self.tracker.now())

    def flip(self):
        if self.flips:
            turn(self.dice.choice(POSITIONS))

    def come_to_an_end(self):
        """Let nothing more go wrong, and see that nothing is left: no lease, no claim, nobody stuck."""
        ImportState.objects.activate(now=self.tracker.now())
        ImportState.objects.filter(claim_expires_at__isnull=False).update(claim_expires_at=LONG_AGO)
        self.desk.sent.clear()
        self.imports.clear()
        self.repair()
        assert counts(self.tracker) == (0, 0)
        assert ImportState.objects.filter(claim_expires_at__isnull=False).count() == 0
        assert ImportState.objects.overdue(now=self.tracker.now()).count() == MIRRORS


@pytest.fixture
def start_walk(desk, tracker, configure):
    def start(seed, **options):
        configure(mirror_max_capacity=CAPACITY, reschedule_wait_seconds=0, schedule_wait_timeout_seconds=0)
        return Walk(tracker, seed, **options)

    return start


SEEDS = [1, 2, *[pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 30)]]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_cap_holds_whatever_happens_in_whatever_order_and_nothing_leaks(seed, start_walk):
    walk = start_walk(seed)

    for _ in range(400):
        walk.step()

    walk.come_to_an_end()


@pytest.mark.parametrize("seed", SEEDS[:1] + SEEDS[2:10])
def test_with_both_flags_on_what_is_queued_and_what_runs_stay_within_the_cap_together(
    seed, start_walk, tracker
):
    turn(TRACKED)
    walk = start_walk(seed, flips=False)
    walk.steps = [step for step in walk.steps if step not in (walk.flush, walk.let_a_claim_run_out)]

    for _ in range(300):
        walk.step()
        assert sum(counts(tracker)) <= CAPACITY
    assert "bounced" not in tracker.counters()

    walk.come_to_an_end()


@pytest.mark.parametrize("before", POSITIONS, ids=str)
@pytest.mark.parametrize("after", POSITIONS, ids=str)
def test_a_flip_between_dispatch_and_door_leaks_nothing(before, after, desk, configure, tracker):
    configure(mirror_max_capacity=3, reschedule_wait_seconds=0, schedule_wait_timeout_seconds=0)
    for _ in range(6):
        build_mirror()
    turn(before)
    desk.run()
    turn(after)
    desk.run()

    for claim in desk.sent:
        to_the_door(claim, tracker)

    assert counts(tracker) == (0, 3)
    for row in ImportState.objects.in_flight():
        now = tracker.now()
        ImportState.objects.start(row.claim, now=now, until=now + LEASE)
        ImportState.objects.held(row.claim, now=now).settle(
            "finished", now=now, outcome=Outcome.CHANGED, next_execution_at=now + LEASE
        )
        tracker.release(row.claim.token)
    assert counts(tracker) == (0, 0)
    assert {Claim(row.pk, row.epoch) for row in ImportState.objects.all()}
    assert ImportState.objects.overdue(now=tracker.now()).count() == 3
