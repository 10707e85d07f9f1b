"""Rows and tracker together, in every order of events that Hypothesis can think of: P1 to P4 of the promises.

The steps are the product's own, on a real Valkey and a real database; only git is left out. Messages are lost and
come twice, workers crash, leases run out, the clock jumps, Redis forgets everything, flags flip, the cap changes.
"""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mirroring.models import Claim, Host, ImportAttempt, ImportState, SchedulingSettings
from mirroring.rules.hosts import FAILURES_BEFORE_COOLING, Signal
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import Status
from mirroring.tracker.job_tracker import Pool
from tests.machines import SAME_EACH_TIME
from tests.machines.stage import DELAY, LEASE, Stage
from tests.scheduler.desk import POSITIONS, TRACKED, turn

pytestmark = pytest.mark.django_db(transaction=True)

MIRRORS, SLOTS, MOST = 7, 3, 4
AN_INSTANT = timedelta(seconds=5)
ENDINGS = (Outcome.CHANGED, Outcome.UNCHANGED, Outcome.TRANSIENT, Outcome.GONE, Outcome.HUNG)
index = st.integers(min_value=0, max_value=30)


class Scheduling(RuleBasedStateMachine):
    """The fleet, and what has been seen of it so far."""

    tracker = None

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(self.tracker, mirrors=MIRRORS, slots=SLOTS)
        self.epochs: dict[int, int] = {}
        self.endings: dict[tuple[int, int], tuple[str, object]] = {}
        self.importing: set[str] = set()
        self.of_hosts: set[str] = set()
        self.allowed = self.stage.capacity()
        self.limits = self.stage.limits()

    # -- the product runs -------------------------------------------------------------------------------------------

    @rule()
    def plan(self) -> None:
        self.stage.dispatch()

    @precondition(lambda self: self.stage.desk.sent)
    @rule(at=index)
    def pass_the_door(self, at: int) -> None:
        sent = self.stage.desk.sent
        self.stage.door(sent.pop(at % len(sent)))

    @precondition(lambda self: self.stage.imports and self.stage.workers)
    @rule(at=index, by=index)
    def start(self, at: int, by: int) -> None:
        worker = self.stage.workers[by % len(self.stage.workers)]
        if len(worker.running) < SLOTS:
            self.stage.begin(worker, self.stage.imports.pop(at % len(self.stage.imports)))

    @precondition(lambda self: any(worker.running for worker in self.stage.workers))
    @rule(by=index, at=index, outcome=st.sampled_from(ENDINGS), signal=st.sampled_from(Signal))
    def finish(self, by: int, at: int, outcome: Outcome, signal: Signal) -> None:
        busy = [worker for worker in self.stage.workers if worker.running]
        worker = busy[by % len(busy)]
        self.stage.finish(worker, worker.running[at % len(worker.running)], outcome, signal)

    @rule(at=index, failures=st.sampled_from((1, FAILURES_BEFORE_COOLING)))
    def a_host_fails(self, at: int, failures: int) -> None:
        """Imports that nobody sees here fail; after enough of them the host is left alone."""
        self.stage.fail(self.stage.hosts[at % len(self.stage.hosts)], times=failures)

    @initialize(position=st.sampled_from(POSITIONS), adaptive=st.booleans())
    def begin_in_a_position(self, position: tuple[bool, bool], adaptive: bool) -> None:
        """Where hosts need not earn their slots, the capacity is what bounds them."""
        turn(position)
        SchedulingSettings.objects.update(mirror_host_adaptive=adaptive)

    @rule(runs=st.sampled_from((1, 3)))
    def work_through(self, runs: int) -> None:
        """All that is due goes as far as it can: so the busy states are reached in few steps."""
        self.stage.pass_time(timedelta(seconds=2))
        for _ in range(runs):
            self.stage.dispatch()
        while self.stage.desk.sent:
            self.stage.door(self.stage.desk.sent.pop())
        free = [worker for worker in self.stage.workers for _ in range(SLOTS - len(worker.running))]
        for worker in free[: len(self.stage.imports)]:
            self.stage.begin(worker, self.stage.imports.pop())

    @rule()
    def renew(self) -> None:
        for worker in self.stage.workers:
            worker.heart.beat()

    @rule()
    def repair(self) -> None:
        self.stage.repair()

    @rule()
    def outlive_a_lease(self) -> None:
        """No heart beats for longer than a lease, and repair runs; then all workers go on as if nothing had been."""
        self.stage.pass_time(timedelta(seconds=70))
        self.stage.repair()
        self.renew()

    # -- something goes wrong ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.stage.desk.sent or self.stage.imports)
    @rule(at=index)
    def lose_a_message(self, at: int) -> None:
        queue = self.stage.desk.sent or self.stage.imports
        queue.pop(at % len(queue))

    @precondition(lambda self: self.stage.sent)
    @rule(at=index)
    def deliver_again(self, at: int) -> None:
        kind, claim = self.stage.sent[at % len(self.stage.sent)]
        (self.stage.desk.sent if kind == "scheduling" else self.stage.imports).append(claim)

    @precondition(lambda self: self.stage.workers)
    @rule(by=index)
    def crash(self, by: int) -> None:
        self.stage.crash(self.stage.workers[by % len(self.stage.workers)])

    @precondition(lambda self: len(self.stage.workers) < 3)
    @rule()
    def start_a_worker(self) -> None:
        self.stage.start_worker()

    @rule(seconds=st.sampled_from((1, 20, 50, 70, 400)))
    def let_time_pass(self, seconds: int) -> None:
        self.stage.pass_time(timedelta(seconds=seconds))

    @rule(seconds=st.sampled_from((1, 30, 3600)))
    def jump_back(self, seconds: int) -> None:
        self.stage.pass_time(-timedelta(seconds=seconds))

    @rule()
    def flush(self) -> None:
        self.tracker._client.flushall()

    # -- people change things -----------------------------------------------------------------------------------------

    @rule(position=st.sampled_from(POSITIONS))
    def flip(self, position: tuple[bool, bool]) -> None:
        turn(position)

    @rule(number=st.integers(min_value=0, max_value=MOST))
    def change_the_cap(self, number: int) -> None:
        self.stage.set_capacity(number)

    @rule(at=index, number=st.sampled_from((None, 0, 1, 2)))
    def bound_a_host(self, at: int, number: int | None) -> None:
        host = self.stage.hosts[at % len(self.stage.hosts)]
        Host.objects.filter(pk=host.pk).update(max_slots=number)

    @rule(at=index)
    def ask(self, at: int) -> None:
        mirror = self.stage.mirrors[at % MIRRORS]
        ImportState.objects.filter(pk=mirror.pk).ask_now(now=self.stage.now())

    @rule(at=index)
    def pause(self, at: int) -> None:
        ImportState.objects.filter(pk=self.stage.mirrors[at % MIRRORS].pk).deactivate()

    @rule(at=index)
    def resume(self, at: int) -> None:
        rows = ImportState.objects.filter(pk=self.stage.mirrors[at % MIRRORS].pk)
        rows.activate(now=self.stage.now())

    # -- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def the_cap_holds(self) -> None:
        """P1: slots grow up to the capacity in force and no further, and a row in flight has a slot."""
        held, flying = self.stage.live(Pool.IMPORTING), self.stage.flying(for_at_least=AN_INSTANT)
        new = held - self.importing  # What a rebuild puts back was admitted before.
        if self.stage.ready():
            assert flying <= held, "a row is in flight without a slot"
        capacity = self.stage.capacity()
        allowed, self.allowed = max(capacity, self.allowed), capacity
        assert not new or len(held) <= allowed, "more slots than the capacity in force"
        self.importing |= held

    @invariant()
    def the_slots_of_a_host_hold(self) -> None:
        """P1, for each host: its slots grow up to what it may hold and no further, whoever else has room."""
        limits, before = self.stage.limits(), self.limits
        for host, held in self.stage.importing_by_host().items():
            new = held - self.of_hosts  # What a rebuild puts back was admitted before.
            assert not new or len(held) <= max(limits[host], before[host]), (
                "more slots than its host may hold"
            )
            self.of_hosts |= held
        self.limits = limits

    @invariant()
    def an_epoch_only_grows_and_ends_once(self) -> None:
        """P3: an attempt that ended stays as it ended; an epoch is never used again."""
        for row in ImportState.objects.all():
            assert row.epoch >= self.epochs.get(row.pk, 0)
            self.epochs[row.pk] = row.epoch
        for attempt in ImportAttempt.objects.filter(ended_at__isnull=False):
            key, ending = (attempt.mirror_id, attempt.epoch), (attempt.outcome, attempt.started_at)
            assert self.endings.setdefault(key, ending) == ending, "an import ended twice"

    @invariant()
    def one_import_of_a_mirror_may_write(self) -> None:
        """P3: of all imports that run, wherever they were left running, one at most still holds its mirror."""
        now = self.stage.now()
        running = [each.claim for worker in self.stage.workers for each in worker.running]
        holders = [claim for claim in running if ImportState.objects.held(claim, now=now).exists()]
        assert len({claim.mirror_id for claim in holders}) == len(holders)

    def teardown(self) -> None:
        """P2 and P4: when nothing more goes wrong, no slot is left over and every mirror is imported again."""
        stage = self.stage
        turn(TRACKED)
        stage.set_capacity(MOST)
        ImportState.objects.all().activate(now=stage.now())
        Host.objects.update(max_slots=None)
        self._lose_everything()
        stage.repair()
        stage.pass_time(2 * LEASE + AN_INSTANT)  # However far the clock has jumped back.
        stage.repair()
        assert not stage.live(Pool.IMPORTING)
        assert not stage.live(Pool.PROCESSING)
        assert not ImportState.objects.filter(claim_expires_at__isnull=False).exists()
        stage.pass_time(timedelta(days=10))  # Longer than all jumps together, by which mirrors are due later.
        self._import_all()

    def _lose_everything(self) -> None:
        """Let messages vanish at every stage, and workers with what runs in them."""
        stage = self.stage
        stage.start_worker()
        stage.repair()
        self.work_through(1)
        stage.dispatch()
        for worker in list(stage.workers):
            stage.crash(worker)
        stage.desk.sent.clear()
        stage.imports.clear()

    def _import_all(self) -> None:
        stage = self.stage
        stage.pass_time(2 * DELAY)  # One that was lost again and again is due only after its back-off.
        worker, done = stage.start_worker(), set()
        for _ in range(MIRRORS):
            stage.dispatch()
            while stage.desk.sent:
                stage.door(stage.desk.sent.pop())
            while stage.imports:
                stage.begin(worker, stage.imports.pop())
            self._let_the_dead_come_back()
            for running in list(worker.running):
                stage.finish(worker, running, Outcome.CHANGED)
                done.add(running.claim.mirror_id)
        assert done == {mirror.pk for mirror in stage.mirrors}, "a mirror was not taken up again"
        assert ImportState.objects.filter(status=Status.FINISHED).count() == MIRRORS
        assert not stage.live(Pool.IMPORTING) | stage.live(Pool.PROCESSING)

    def _let_the_dead_come_back(self) -> None:
        """P3: who lost its claim changes nothing, whatever it still says."""
        before = list(ImportState.objects.order_by("pk").values_list())
        for worker, running in self.stage.zombies:
            self.stage.finish(worker, running, Outcome.TRANSIENT)
        self.stage.zombies.clear()
        assert list(ImportState.objects.order_by("pk").values_list()) == before, "a dead worker wrote a row"


SHORT = settings(
    phases=(Phase.explicit, Phase.generate),
    max_examples=15,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(SHORT, max_examples=100, stateful_step_count=60, derandomize=SAME_EACH_TIME, print_blob=True)


def run(tracker: object, profile: settings) -> None:
    machine = type("Scheduling", (Scheduling,), {"tracker": tracker})
    run_state_machine_as_test(machine, settings=profile)


def test_the_promises_hold_in_any_order_of_events(new_tracker):
    run(new_tracker(), SHORT)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_promises_hold_in_many_more_orders_of_events(new_tracker):
    run(new_tracker(), LONG)


def busy(tracker):
    """Return a stage with two imports that run, of different hosts."""
    stage = Stage(tracker, mirrors=2, slots=2)
    turn(TRACKED)
    stage.dispatch()
    while stage.desk.sent:
        stage.door(stage.desk.sent.pop())
    for worker in stage.workers:
        stage.begin(worker, stage.imports.pop())
    return stage


def test_a_row_and_its_slot_that_ran_out_stand_again_together_when_the_clock_jumps_back(new_tracker):
    stage = busy(new_tracker())
    for worker in list(stage.workers):
        stage.crash(worker)
    stage.pass_time(LEASE + timedelta(seconds=10))
    assert not stage.live(Pool.IMPORTING) | stage.flying()
    stage.ready()  # It counts, as /metrics does at any time.

    stage.pass_time(-timedelta(hours=1))

    assert stage.live(Pool.IMPORTING) == stage.flying()
    assert len(stage.flying()) == 2


def test_what_the_dead_held_is_free_in_two_leases_however_far_the_clock_jumps_back(new_tracker):
    stage = busy(new_tracker())
    for worker in list(stage.workers):
        stage.crash(worker)
    stage.pass_time(-timedelta(hours=1))
    stage.repair()
    assert stage.live(Pool.IMPORTING) == stage.flying() != set()

    stage.pass_time(2 * LEASE)
    stage.repair()

    assert not stage.live(Pool.IMPORTING) | stage.flying()
    assert ImportState.objects.filter(status=Status.FAILED).count() == 2


def test_time_that_passes_moves_every_deadline(new_tracker):
    stage = Stage(new_tracker(), mirrors=2, slots=2)
    turn(TRACKED)
    stage.dispatch()
    stage.door(stage.desk.sent[0])
    assert len(stage.live(Pool.IMPORTING)) == len(stage.live(Pool.PROCESSING)) == 1

    stage.pass_time(LEASE + timedelta(seconds=1))

    assert not stage.live(Pool.IMPORTING) | stage.live(Pool.PROCESSING)
    assert ImportState.objects.expired(now=stage.now()).count() == 2
    assert Claim.of_token("1:2") == Claim(1, 2)
