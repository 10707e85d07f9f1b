"""project_import_schedule: one mirror through the door."""

import threading

import pytest
from django.db import connection

from mirroring.models import Claim, ImportState
from mirroring.scheduler.scheduling import Passage
from tests.making import LEASE, MINUTE, announce, build_mirror, state_of
from tests.scheduler.desk import counts, to_the_door


@pytest.fixture
def claimed(make_mirror, tracker):
    """Return a function that makes a mirror and claims it; it gives the mirror and the claim."""

    def make(**state):
        mirror = make_mirror(**state)
        now = tracker.now()
        [claim] = ImportState.objects.filter(pk=mirror.pk).claim_due(1, now=now, until=now + LEASE)
        return mirror, claim

    return make


@pytest.mark.parametrize("status", ["none", "finished", "failed", "canceled"])
def test_a_claimed_mirror_takes_a_slot_is_scheduled_and_handed_to_the_import(status, claimed, tracker):
    mirror, claim = claimed(status=status)
    tracker.admit([claim.token], capacity=9, lease=LEASE, enforce=True)
    handed = []

    assert to_the_door(claim, tracker, handed.append) is Passage.SCHEDULED

    row = state_of(mirror)
    assert (row.status, handed) == ("scheduled", [claim])
    assert abs(row.last_update_scheduled_at - tracker.now()) < MINUTE
    assert counts(tracker) == (0, 1)


def test_a_message_that_comes_twice_does_it_once(claimed, tracker):
    _, claim = claimed()
    handed = []

    passages = [to_the_door(claim, tracker, handed.append) for _ in range(2)]

    assert passages == [Passage.SCHEDULED, Passage.STALE]
    assert handed == [claim]
    assert counts(tracker) == (0, 1)
    assert tracker.counters()["stale_messages"] == 1


def test_a_message_for_a_mirror_that_is_gone_is_no_error(tracker, db):
    claim = Claim(mirror_id=987_654, epoch=1)
    tracker.admit([claim.token], capacity=9, lease=LEASE, enforce=True)

    assert to_the_door(claim, tracker) is Passage.STALE
    assert counts(tracker) == (0, 0)


def test_a_message_of_an_older_epoch_takes_nothing(claimed, tracker):
    mirror, claim = claimed()
    old = Claim(mirror.pk, claim.epoch - 1)
    tracker.admit([old.token, claim.token], capacity=9, lease=LEASE, enforce=True)

    assert to_the_door(old, tracker) is Passage.STALE
    assert state_of(mirror).claim == claim
    assert counts(tracker) == (1, 0)


def test_a_message_that_comes_after_its_claim_ran_out_makes_the_mirror_due_again(claimed, tracker):
    mirror, claim = claimed()
    ImportState.objects.filter(pk=mirror.pk).update(claim_expires_at=tracker.now())
    handed = []

    assert to_the_door(claim, tracker, handed.append) is Passage.STALE

    assert (handed, counts(tracker)) == ([], (0, 0))
    assert state_of(mirror).import_due_at is not None


def test_a_mirror_that_was_paused_in_the_queue_is_not_scheduled_and_not_due(claimed, tracker):
    mirror, claim = claimed()
    tracker.admit([claim.token], capacity=9, lease=LEASE, enforce=True)
    ImportState.objects.filter(pk=mirror.pk).deactivate()

    assert to_the_door(claim, tracker) is Passage.STALE

    row = state_of(mirror)
    assert (row.status, row.claim_expires_at, row.import_due_at) == ("none", None, None)
    assert counts(tracker) == (0, 0)


def test_without_room_the_mirror_is_due_again_as_before_and_the_refusal_counted(claimed, tracker, configure):
    configure(mirror_max_capacity=1)
    tracker.door("901:1", capacity=1, lease=LEASE)
    mirror, claim = claimed()
    due_before = state_of(mirror).next_execution_at

    assert to_the_door(claim, tracker) is Passage.BOUNCED

    row = state_of(mirror)
    assert (row.status, row.import_due_at, row.claim_expires_at) == ("none", due_before, None)
    assert counts(tracker) == (0, 1)
    assert tracker.counters()["bounced"] == 1


def test_when_a_worker_has_left_meanwhile_its_slots_are_not_given_away(claimed, tracker):
    _, claim = claimed()
    announce(tracker, slots=0)

    assert to_the_door(claim, tracker) is Passage.BOUNCED


def test_before_the_tracker_is_rebuilt_nobody_passes(claimed, tracker, redis_client):
    mirror, claim = claimed()
    redis_client.delete("{mirroring}:ready")

    assert to_the_door(claim, tracker) is Passage.BOUNCED
    assert state_of(mirror).import_due_at is not None


@pytest.mark.parametrize("mode", ["paused_all", "silent_mode"])
def test_when_all_is_held_back_the_mirror_is_due_again_and_holds_nothing(mode, claimed, tracker, configure):
    configure(**{mode: True})
    mirror, claim = claimed()
    tracker.admit([claim.token], capacity=9, lease=LEASE, enforce=True)

    assert to_the_door(claim, tracker) is Passage.HELD_BACK

    assert state_of(mirror).import_due_at is not None
    assert counts(tracker) == (0, 0)


def test_a_duplicate_that_comes_during_the_import_takes_its_slot_from_nobody(claimed, tracker):
    mirror, claim = claimed()
    to_the_door(claim, tracker)
    now = tracker.now()
    ImportState.objects.start(claim, now=now, until=now + LEASE)

    assert to_the_door(claim, tracker) is Passage.STALE

    assert state_of(mirror).status == "started"
    assert counts(tracker) == (0, 1)


def test_a_stale_message_frees_what_it_holds_also_while_a_newer_claim_and_others_run(claimed, tracker):
    mirror, claim = claimed()
    _, other = claimed()
    for running in (claim, other):
        to_the_door(running, tracker)
    old = Claim(mirror.pk, claim.epoch - 1)
    tracker.admit([old.token], capacity=9, lease=LEASE, enforce=True)

    assert to_the_door(old, tracker) is Passage.STALE

    assert counts(tracker) == (0, 2)


def test_the_wait_before_the_door_is_counted(claimed, tracker):
    mirror, claim = claimed()
    ImportState.objects.filter(pk=mirror.pk).update(claimed_at=tracker.now() - MINUTE)

    to_the_door(claim, tracker)

    assert tracker.counters()["scheduled"] == 1
    assert 60_000 <= tracker.counters()["queue_delay_ms"] < 90_000


@pytest.mark.django_db(transaction=True)
def test_of_many_that_carry_the_same_message_one_gets_through(tracker, new_tracker):
    for _ in range(8):
        mirror = build_mirror()
        now = tracker.now()
        [claim] = ImportState.objects.filter(pk=mirror.pk).claim_due(1, now=now, until=now + LEASE)
        handed, passages, barrier = [], [], threading.Barrier(4)

        def carry():
            own = new_tracker()
            try:
                barrier.wait()  # noqa: B023
                passages.append(to_the_door(claim, own, handed.append))  # noqa: B023
            finally:
                connection.close()

        threads = [threading.Thread(target=carry) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert handed == [claim]
        assert sorted(passages) == ["scheduled", "stale", "stale", "stale"]
    assert counts(tracker) == (0, 8)
