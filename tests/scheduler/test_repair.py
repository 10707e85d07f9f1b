"""Repair: whatever died or was lost, the mirror runs again by itself."""

import time
from datetime import timedelta

import pytest
from django.db import OperationalError

from mirroring.models import Claim, ImportAttempt, ImportState
from mirroring.models.claims import ClaimsQuerySet
from mirroring.rules.outcomes import Outcome
from mirroring.scheduler import ending, repair, scheduling
from mirroring.tracker.connection import RunClock
from mirroring.tracker.job_tracker import Door, Pool
from mirroring.upstream.disk.repository import Repository
from mirroring.upstream.git.process import StopHandle
from tests.making import LEASE, state_of
from tests.scheduler.desk import POSITIONS, TRACKED, Desk, counts, to_the_door, turn
from tests.scheduler.workshop import LONG_AGO, expire


@pytest.fixture
def mend(tracker):
    """Return a function that runs repair; `mend.woken` holds what its calls for the scheduler came to."""

    def run():
        return repair.repair(
            clock=RunClock(tracker.now()),
            tracker=tracker,
            owner="repairer",
            next_due=ending.next_due,
            wake=lambda: run.woken.append(tracker.knock()),
        )

    run.woken = []
    return run


def standing_claim(tracker):
    return tracker.now() + LEASE


def test_with_nothing_wrong_nothing_is_done_and_nobody_woken(mend, make_mirror, tracker):
    make_mirror()
    running = make_mirror(status="started", claim_expires_at=standing_claim(tracker), epoch=1)
    tracker.door(f"{running.pk}:1", capacity=9, lease=LEASE)
    make_mirror(claim_expires_at=standing_claim(tracker))

    assert not mend()
    assert mend.woken == []


@pytest.mark.django_db
def test_a_leader_that_died_is_followed_by_another_if_it_had_been_asked_again(mend, tracker):
    tracker.begin("dead", lease=timedelta(milliseconds=100), max_capacity=5)
    assert tracker.knock() is False
    time.sleep(0.15)

    mend()

    assert mend.woken == [True]


# -- messages and imports that were lost ----------------------------------------------------------------------------


@pytest.mark.parametrize("position", POSITIONS, ids=str)
def test_a_mirror_whose_message_was_lost_is_due_again_and_the_scheduler_woken(
    position, desk, mend, make_mirror, tracker
):
    turn(position)
    mirror = make_mirror()
    desk.run(enqueue=lambda claims: None)
    assert not mend()
    expire(mirror)

    done = mend()

    assert done.lost_messages == 1
    row = state_of(mirror)
    assert (row.claim_expires_at, row.import_due_at) == (None, row.next_execution_at)
    assert counts(tracker) == (0, 0)
    assert tracker.counters()["repaired_messages"] == 1
    assert mend.woken == [True]
    assert desk.run().enqueued == 1


def in_flight(make_mirror, **state):
    return make_mirror(**{"status": "started", "epoch": 3, "claim_expires_at": LONG_AGO, **state})


def test_an_import_whose_worker_vanished_is_lost_and_due_at_once(mend, make_mirror, tracker):
    turn(TRACKED)
    mirror, other = in_flight(make_mirror, retry_count=2), make_mirror()
    for of, epoch, ended in ((mirror, 3, None), (mirror, 2, tracker.now()), (other, 3, None)):
        ImportAttempt.objects.create(mirror=of, epoch=epoch, worker="w", started_at=LONG_AGO, ended_at=ended)
    tracker.refill(by_event=True)
    tracker.door(f"{mirror.pk}:3", capacity=9, lease=LEASE)

    assert mend().lost_imports == 1

    row = state_of(mirror)
    assert (row.status, row.last_outcome, row.retry_count, row.lost_count) == ("failed", "lost", 2, 1)
    assert (row.claim_expires_at, row.epoch) == (None, 3)
    assert row.import_due_at <= tracker.now()
    assert "its worker vanished, 1 time" in row.last_error
    [attempt] = ImportAttempt.objects.filter(outcome="lost")
    assert (attempt.mirror, attempt.epoch, attempt.error) == (mirror, 3, "its worker vanished")
    assert attempt.ended_at is not None
    assert tracker.counters()["repaired_imports"] == 1
    assert counts(tracker) == (0, 0)
    assert mend.woken == [True]


def test_a_row_that_cannot_be_repaired_keeps_no_other_from_it(mend, make_mirror, tracker, monkeypatch):
    broken, *others = (in_flight(make_mirror) for _ in range(4))
    folder = broken.repository
    (folder / "HEAD").mkdir(parents=True)
    (folder / "incoming").write_text("not a folder")

    done = mend()

    assert (done.lost_imports, done.poisoned) == (3, 1)
    assert {state_of(each).status for each in others} == {"failed"}
    assert state_of(broken).status == "started"
    assert tracker.counters()["repairs_failed"] == 1
    (folder / "incoming").unlink()
    assert mend().lost_imports == 1


def test_a_mirror_that_never_got_to_its_import_is_due_again_and_nothing_is_counted(mend, make_mirror):
    mirror = in_flight(make_mirror, status="scheduled")

    mend()

    row = state_of(mirror)
    assert (row.status, row.lost_count, row.retry_count) == ("failed", 0, 0)
    assert row.last_error == "its import never began"
    assert row.import_due_at is not None


@pytest.mark.parametrize(("losses", "retries"), [(0, 0), (1, 0), (2, 1), (9, 1)])
def test_from_the_third_loss_in_a_row_on_each_counts_as_a_failure(
    mend, make_mirror, losses, retries, tracker
):
    mirror = in_flight(make_mirror, lost_count=losses)

    mend()

    row = state_of(mirror)
    assert (row.lost_count, row.retry_count) == (losses + 1, retries)
    assert (row.import_due_at > tracker.now()) == bool(retries)


@pytest.mark.parametrize(("retries", "hard"), [(13, False), (14, True)])
def test_a_mirror_that_kills_every_worker_ends_waiting_for_a_person(mend, make_mirror, retries, hard):
    mirror = in_flight(make_mirror, lost_count=16, retry_count=retries)

    mend()

    row = state_of(mirror)
    assert (row.hard_failed, row.import_due_at is None) == (hard, hard)


def test_a_row_that_moved_on_while_it_was_repaired_is_left_alone(make_mirror, tracker):
    mirror = in_flight(make_mirror, lost_count=9)

    def meanwhile(**_):
        ImportState.objects.filter(pk=mirror.pk).update(epoch=4)
        return tracker.now()

    done = repair.repair(
        clock=RunClock(tracker.now()), tracker=tracker, owner="a", next_due=meanwhile, wake=lambda: None
    )

    assert done.lost_imports == 0
    assert (state_of(mirror).status, state_of(mirror).epoch) == ("started", 4)


def test_the_time_of_a_claim_decides_and_not_how_long_the_import_has_run(mend, make_mirror, tracker):
    running = in_flight(
        make_mirror, claim_expires_at=standing_claim(tracker), last_update_started_at=LONG_AGO
    )
    expired = in_flight(make_mirror, last_update_started_at=tracker.now())

    mend()

    assert (state_of(running).status, state_of(expired).status) == ("started", "failed")


def test_a_paused_mirror_whose_worker_vanished_comes_to_rest_and_is_not_due(mend, make_mirror):
    mirror = in_flight(make_mirror, active=False)

    mend()

    assert (state_of(mirror).status, state_of(mirror).import_due_at) == ("failed", None)


def test_the_staged_work_of_a_lost_import_can_no_longer_become_visible(
    mend, make_mirror, repositories_folder
):
    mirror = in_flight(make_mirror)
    repository = Repository(mirror.repository)
    repository.make(stop=StopHandle())
    for epoch in (2, 3, 4):
        repository.stage(epoch)

    mend()

    assert [folder.name for folder in (repository.path / "incoming").iterdir()] == ["4"]


def test_who_was_given_up_cannot_write_afterwards(mend, make_mirror, tracker):
    mirror = in_flight(make_mirror)
    claim = Claim(mirror.pk, 3)

    mend()

    now = tracker.now()
    rows = ImportState.objects.held(claim, now=now)
    assert not rows.settle("finished", now=now, outcome=Outcome.CHANGED, next_execution_at=now)
    assert ImportState.objects.renew([claim], now=now, until=now + LEASE) == set()
    assert tracker.renew([claim.token], lease=LEASE) == set()


def test_what_is_too_much_for_one_run_is_left_to_the_next(mend, make_mirror, monkeypatch):
    monkeypatch.setattr(repair, "BATCH", 2)
    for _ in range(3):
        in_flight(make_mirror)
        make_mirror(claim_expires_at=LONG_AGO)

    runs = [mend() for _ in range(3)]

    assert [(run.lost_imports, run.lost_messages) for run in runs] == [(2, 2), (1, 1), (0, 0)]


def test_after_the_clock_jumped_back_what_nobody_renews_ends_within_a_lease(
    mend, make_mirror, tracker, redis_client
):
    an_hour = tracker.now() + timedelta(hours=1)
    dead = in_flight(make_mirror, claim_expires_at=an_hour)
    queued = make_mirror(claim_expires_at=an_hour, epoch=3)
    tracker.door(f"{dead.pk}:3", capacity=9, lease=timedelta(hours=1))
    tracker.admit([f"{queued.pk}:3"], capacity=9, lease=timedelta(hours=1), enforce=False)

    assert mend().overlong == 4

    ends = [state_of(each).claim_expires_at for each in (dead, queued)]
    ends += [lease.deadline for pool in Pool for lease in tracker.leases(pool)]
    now = tracker.now()
    assert len(ends) == 4
    assert all(now + LEASE / 2 < end <= now + LEASE for end in ends)
    assert mend.woken == [True]
    assert not mend()


def test_what_was_renewed_since_the_clock_was_read_is_not_shortened(mend, make_mirror, tracker):
    mirror = in_flight(make_mirror, claim_expires_at=tracker.now() + 1.5 * LEASE)
    tracker.door(f"{mirror.pk}:3", capacity=9, lease=1.5 * LEASE)

    assert not mend()

    [slot] = tracker.leases(Pool.IMPORTING)
    assert state_of(mirror).claim_expires_at > tracker.now() + LEASE
    assert slot.deadline > tracker.now() + LEASE


# -- slots without an owner -----------------------------------------------------------------------------------------


def test_leases_of_jobs_that_no_row_knows_are_freed(mend, make_mirror, tracker):
    claimed = make_mirror(claim_expires_at=standing_claim(tracker), epoch=5)
    rests = make_mirror(epoch=5)
    kept, old, done, unknown = f"{claimed.pk}:5", f"{claimed.pk}:4", f"{rests.pk}:5", "987654:1"
    tracker.admit([kept, old, unknown], capacity=9, lease=LEASE, enforce=False)
    tracker.door(done, capacity=9, lease=LEASE)

    assert mend().orphan_slots == 3

    assert [lease.token for lease in tracker.leases(Pool.PROCESSING)] == [kept]
    assert tracker.leases(Pool.IMPORTING) == []
    assert tracker.counters()["repaired_slots"] == 3
    assert mend.woken == [True]


def test_a_slot_that_was_taken_before_its_row_moved_is_not_an_orphan(mend, make_mirror, tracker):
    # Between the door and `scheduled` the row is claimed and at rest, while the slot is held already.
    mirror = make_mirror(claim_expires_at=standing_claim(tracker), epoch=5)
    tracker.door(f"{mirror.pk}:5", capacity=9, lease=LEASE)

    mend()

    assert counts(tracker) == (0, 1)


def test_a_job_that_comes_through_the_door_while_its_claim_is_given_back_keeps_its_slot(
    mend, make_mirror, tracker, monkeypatch
):
    mirror = make_mirror(claim_expires_at=tracker.now() - timedelta(milliseconds=1), epoch=5)
    lost = make_mirror(claim_expires_at=tracker.now() - timedelta(milliseconds=1), epoch=2)
    just_before, claim = tracker.now() - timedelta(seconds=1), Claim(mirror.pk, 5)
    tracker.admit([f"{lost.pk}:2"], capacity=9, lease=LEASE, enforce=False)
    give_back = ClaimsQuerySet.give_back

    def late(rows, claims, *, now):
        scheduling.project_import_schedule(claim, now=just_before, tracker=tracker, enqueue=lambda _: None)
        return give_back(rows, claims, now=now)

    monkeypatch.setattr(ClaimsQuerySet, "give_back", late)

    done = mend()

    assert state_of(mirror).status == "scheduled"
    assert [lease.token for lease in tracker.leases(Pool.IMPORTING)] == [claim.token]
    assert tracker.leases(Pool.PROCESSING) == []
    assert (done.lost_messages, done.orphan_slots) == (1, 0)


# -- a server that lost its memory ----------------------------------------------------------------------------------


def test_after_a_flush_the_pools_are_what_the_rows_say(mend, make_mirror, tracker, redis_client):
    until = tracker.now() + LEASE
    queued = make_mirror(claim_expires_at=until, epoch=1)
    scheduled = make_mirror(status="scheduled", claim_expires_at=until, epoch=2)
    started = make_mirror(status="started", claim_expires_at=until, epoch=3)
    make_mirror()
    redis_client.flushall()

    assert mend().rebuilt

    assert [lease.token for lease in tracker.leases(Pool.PROCESSING)] == [f"{queued.pk}:1"]
    importing_now = {lease.token: lease.deadline for lease in tracker.leases(Pool.IMPORTING)}
    assert set(importing_now) == {f"{scheduled.pk}:2", f"{started.pk}:3"}
    assert all(
        abs(deadline - until) < timedelta(milliseconds=2) or deadline >= until
        for deadline in importing_now.values()
    )
    assert mend.woken == [True]
    assert not mend()


def test_after_a_flush_no_more_is_admitted_than_there_is_room_beside_what_runs(
    desk, mend, make_mirror, tracker, redis_client, configure
):
    from tests.making import announce

    turn(TRACKED)
    configure(mirror_max_capacity=3)
    until = tracker.now() + LEASE
    for _ in range(2):
        make_mirror(status="started", claim_expires_at=until, epoch=1)
    waiting = [make_mirror() for _ in range(3)]
    redis_client.flushall()
    announce(tracker, slots=10)
    assert desk.run().enqueued == 0

    mend()

    assert desk.run().enqueued == 1
    assert to_the_door(desk.sent[0], tracker) == "scheduled"
    assert tracker.door("999:9", capacity=3, lease=LEASE) is Door.FULL
    assert sum(state_of(mirror).import_due_at is not None for mirror in waiting) == 2


# -- housekeeping ---------------------------------------------------------------------------------------------------


def test_one_repairs_at_a_time(mend, make_mirror, tracker):
    mirror = in_flight(make_mirror)
    tracker.lead("another", lease=repair.REPAIRER_LEASE, role="repairer")

    assert not mend()
    assert state_of(mirror).status == "started"
    tracker.resign("another", role="repairer")
    assert mend().lost_imports == 1


def test_a_repair_that_breaks_gives_the_lead_back(tracker, make_mirror):
    mirror = in_flight(make_mirror, lost_count=9)

    def broken(**_):
        raise OperationalError

    with pytest.raises(OperationalError):
        repair.repair(
            clock=RunClock(tracker.now()), tracker=tracker, owner="a", next_due=broken, wake=lambda: None
        )

    assert tracker.lead("b", lease=LEASE, role="repairer")
    assert state_of(mirror).status == "started"


def test_attempts_are_forgotten_after_thirty_days_and_open_ones_never(mend, make_mirror, tracker):
    mirror, now = make_mirror(), tracker.now()
    for epoch, ended in ((1, now - timedelta(days=31)), (2, now - timedelta(days=29)), (3, None)):
        ImportAttempt.objects.create(
            mirror=mirror, epoch=epoch, worker="w", started_at=LONG_AGO, ended_at=ended
        )

    mend()

    assert set(ImportAttempt.objects.values_list("epoch", flat=True)) == {2, 3}


def test_a_stale_message_after_repair_does_not_disturb_the_next_import(mend, make_mirror, tracker):
    desk = Desk(tracker)
    turn(TRACKED)
    mirror = make_mirror()
    desk.run()
    [first] = desk.sent
    expire(mirror)
    mend()
    desk.run()
    [_, second] = desk.sent

    assert to_the_door(second, tracker) == "scheduled"
    assert to_the_door(first, tracker) == "stale"
    assert state_of(mirror).claim == second
    assert counts(tracker) == (0, 1)
