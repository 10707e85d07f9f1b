"""After the server lost its memory nothing is admitted until the pools are rebuilt from the rows."""

import time
from datetime import timedelta

import pytest
import redis

from mirroring.stack import valkey as private_valkey
from mirroring.tracker.job_tracker import Door, JobTracker, Lease, Pool, TrackerDown
from tests.making import announce

LEASE = timedelta(seconds=60)


def admit(tracker, token="1:1"):
    return tracker.admit([token], capacity=10, lease=LEASE, enforce=True)


def door(tracker, token="1:1"):
    return tracker.door(token, capacity=10, lease=LEASE)


def refuses_everything(tracker):
    assert admit(tracker) is None
    assert tracker.admit(["1:1"], capacity=10, lease=LEASE, enforce=False) is None
    assert door(tracker) is Door.NOT_READY
    assert tracker.renew(["1:1"], lease=LEASE) is None
    assert not tracker.counts(max_capacity=10).ready
    assert not tracker.leases(Pool.PROCESSING) + tracker.leases(Pool.IMPORTING)
    return True


def test_a_server_that_was_never_rebuilt_refuses_everything(lost_tracker):
    announce(lost_tracker, slots=10)

    assert refuses_everything(lost_tracker)


def test_a_flushed_server_refuses_everything_until_it_is_rebuilt(tracker, redis_client):
    door(tracker)
    redis_client.flushall()
    announce(tracker, slots=10)
    assert refuses_everything(tracker)

    assert tracker.rebuild(processing=[], importing=[Lease("1:1", tracker.now() + LEASE)])

    assert tracker.renew(["1:1"], lease=LEASE) == {"1:1"}
    assert admit(tracker, "2:1") == ["2:1"]


def test_the_memory_of_another_server_is_not_trusted(tracker, redis_client):
    # What a replica that became the master holds, or a server that was restarted from an older file.
    redis_client.set("{mirroring}:ready", "0" * 40)

    assert refuses_everything(tracker)


def test_a_restarted_server_refuses_everything_until_it_is_rebuilt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valkey")
    first = private_valkey.start(folder)
    try:
        with redis.Redis.from_url(first.url, decode_responses=True) as client:
            before = JobTracker(client)
            before.rebuild(processing=[], importing=[])
            announce(before, slots=10)
            assert door(before) is Door.OPEN
    finally:
        private_valkey.stop(first)
    second = private_valkey.start(folder)
    try:
        with redis.Redis.from_url(second.url, decode_responses=True) as client:
            after = JobTracker(client)
            assert [lease.token for lease in after.leases(Pool.IMPORTING)] == ["1:1"]
            assert door(after, "2:1") is Door.NOT_READY
            assert after.rebuild(processing=[], importing=[])
            assert door(after, "2:1") is Door.OPEN
            assert after.counts(max_capacity=10).importing == 2
    finally:
        private_valkey.stop(second)


def test_a_rebuild_puts_back_both_pools_with_their_deadlines(lost_tracker):
    until = lost_tracker.now() + LEASE

    assert lost_tracker.rebuild(
        processing=[Lease("1:1", until)], importing=[Lease("2:1", until), Lease("3:1", until)]
    )

    assert [lease.token for lease in lost_tracker.leases(Pool.PROCESSING)] == ["1:1"]
    assert {lease.token for lease in lost_tracker.leases(Pool.IMPORTING)} == {"2:1", "3:1"}
    assert abs(lost_tracker.leases(Pool.PROCESSING)[0].deadline - until) <= timedelta(milliseconds=1)


def test_a_second_rebuild_changes_nothing(tracker):
    until = tracker.now() + LEASE

    assert not tracker.rebuild(processing=[Lease("1:1", until)], importing=[])
    assert tracker.leases(Pool.PROCESSING) == []


def test_a_rebuild_keeps_the_later_deadline_of_a_lease_that_is_there(tracker, redis_client):
    door(tracker, "1:1")
    [there] = tracker.leases(Pool.IMPORTING)
    redis_client.delete("{mirroring}:ready")

    tracker.rebuild(processing=[], importing=[Lease("1:1", there.deadline - LEASE / 2)])

    assert tracker.leases(Pool.IMPORTING) == [there]


def test_a_rebuild_of_many_thousands_works(lost_tracker):
    until = lost_tracker.now() + LEASE
    processing = [Lease(f"{number}:1", until) for number in range(6000)]
    importing = [Lease(f"{number}:2", until) for number in range(6000)]

    lost_tracker.rebuild(processing=processing, importing=importing)

    counts = lost_tracker.counts(max_capacity=1)
    assert (counts.processing, counts.importing) == (6000, 6000)


def test_leases_that_ran_out_meanwhile_are_rebuilt_as_ended(lost_tracker):
    announce(lost_tracker, slots=10)
    lost_tracker.rebuild(processing=[], importing=[Lease("1:1", lost_tracker.now() - LEASE)])

    assert lost_tracker.counts(max_capacity=1).importing == 0


def test_a_server_that_cannot_be_reached_is_an_error_and_not_an_empty_pool(tmp_path):
    tracker = JobTracker(redis.Redis.from_url(f"unix://{tmp_path}/nothing.sock", decode_responses=True))

    for ask in (lambda: admit(tracker), lambda: door(tracker), tracker.now, tracker.workers, tracker.knock):
        with pytest.raises(TrackerDown, match="Redis"):
            ask()


def test_the_tracker_of_a_process_gives_up_soon_when_the_server_is_away(settings, tmp_path):
    from mirroring.tracker import connection

    settings.REDIS_URL = f"unix://{tmp_path}/nothing.sock"
    connection.connect.cache_clear()
    try:
        began = time.monotonic()
        with pytest.raises(TrackerDown):
            connection.connect().now()
        assert time.monotonic() - began < 1
        assert abs(connection.present().timestamp() - time.time()) < 1
    finally:
        connection.connect.cache_clear()


def test_the_clock_of_a_run_is_the_servers_and_goes_on_without_it(tracker):
    from mirroring.tracker.connection import RunClock

    far = tracker.now() + timedelta(days=400)
    clock = RunClock(far)

    first = clock.now()
    time.sleep(0.05)

    assert timedelta(0) <= first - far < timedelta(seconds=1)
    assert clock.now() - first >= timedelta(seconds=0.05)
