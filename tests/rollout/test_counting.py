from datetime import timedelta

import pytest

from tests.making import LEASE, NOW, announce, claim_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def counting():
    from mirroring.tracker import round_trips

    round_trips.install()
    round_trips.ROUND_TRIPS.take()
    return round_trips.ROUND_TRIPS


def test_one_call_of_a_script_is_one_round_trip_of_the_tracker(tracker, redis_client, counting):
    tracker.counts(max_capacity=5)  # The server knows the script from now on.
    counting.take()
    tracker.counts(max_capacity=5)
    redis_client.get("anything")

    assert counting.take() == {"round_trips_tracker": 1, "round_trips_broker": 1}


def test_an_announcement_carries_the_round_trips_to_the_counters(tracker, counting):
    announce(tracker, slots=1)  # The server knows the script from now on.
    counting.take()
    before = tracker.counters().get("round_trips_tracker", 0)
    announce(tracker, slots=1)

    assert tracker.counters()["round_trips_tracker"] - before == 1


def test_the_server_counts_also_what_scripts_call(tracker, redis_client):
    before = tracker.server_calls()
    tracker.counts(max_capacity=5)

    assert tracker.server_calls() - before > 2


def test_the_door_counts_who_is_scheduled_and_how_long_it_waited(tracker):
    for _ in range(2):
        tracker.door("1:1", capacity=5, lease=LEASE, waited=timedelta(seconds=3))

    counted = tracker.counters()
    assert (counted["scheduled"], counted["queue_delay_ms"]) == (1, 3000)


def test_the_delay_is_from_the_claim_to_the_door(tracker, make_mirror):
    from mirroring.scheduler.scheduling import project_import_schedule

    mirror = make_mirror(claim_expires_at=NOW + LEASE, claimed_at=NOW, epoch=1)
    project_import_schedule(
        claim_of(mirror), now=NOW + timedelta(seconds=4), tracker=tracker, enqueue=lambda claim: None
    )

    assert tracker.counters()["queue_delay_ms"] == 4000


# This goes with update_all_mirrors_job_tracker.
def test_jobs_beyond_the_capacity_are_counted_when_they_are_enqueued(tracker, make_mirror, configure):
    from mirroring.models import ImportState
    from mirroring.scheduler import dispatch
    from mirroring.tracker.connection import RunClock

    configure(mirror_max_capacity=3, schedule_wait_timeout_seconds=0, reschedule_wait_seconds=0)
    for _ in range(8):
        make_mirror()
    broker = dispatch.Broker(enqueue=lambda claims: None, waiting=lambda: 1)
    for run in range(2):  # Nothing reads the queue, so the second run schedules as if there were room.
        dispatch.update_all_mirrors(
            clock=lambda at: RunClock(NOW),
            tracker=tracker,
            broker=broker,
            owner=f"run {run}",
            due=ImportState.objects.claim_due,
            rerun=lambda: None,
            sleep=lambda seconds: None,
        )

    assert tracker.counters()["over_scheduled"] == 3
