"""What a host may hold: checked at the admission and at the door, healed by the leases of the pools."""

import time
from datetime import timedelta

from mirroring.tracker.job_tracker import Door, Lease, Pool, Room
from tests.making import announce
from tests.tracker.test_races import in_threads
from tests.tracker.test_slots import LEASE, SHORT, members, tokens

PLENTY = 1000


def admit(tracker, jobs, *, host=1, slots, lease=LEASE, capacity=PLENTY, enforce=True):
    rooms = [Room(host, slots)] * len(jobs)
    return tracker.admit(jobs, capacity=capacity, lease=lease, enforce=enforce, rooms=rooms)


def door(tracker, job, *, host=1, slots, lease=LEASE, capacity=PLENTY):
    return tracker.door(job, capacity=capacity, lease=lease, room=Room(host, slots))


def test_of_a_batch_each_host_gets_no_more_than_its_slots_and_the_others_go_on(tracker):
    jobs = tokens(6)
    rooms = [Room(1, 2), Room(1, 2), Room(1, 2), Room(2, 5), Room(1, 2), Room(2, 5)]

    inside = tracker.admit(jobs, capacity=PLENTY, lease=LEASE, enforce=True, rooms=rooms)

    assert inside == ["1:1", "2:1", "4:1", "6:1"]
    assert members(tracker, Pool.PROCESSING) == set(inside)


def test_the_capacity_bounds_all_hosts_together(tracker):
    rooms = [Room(1, 2), Room(1, 2), Room(1, 2), Room(2, 5), Room(2, 5)]

    assert tracker.admit(tokens(5), capacity=3, lease=LEASE, enforce=True, rooms=rooms) == [
        "1:1",
        "2:1",
        "4:1",
    ]


def test_what_a_host_holds_in_both_pools_counts_at_the_admission(tracker):
    door(tracker, "90:1", slots=3)
    admit(tracker, ["91:1"], slots=3)

    assert admit(tracker, tokens(3), slots=3) == ["1:1"]


def test_a_batch_that_is_admitted_twice_is_charged_to_its_host_once(tracker):
    assert admit(tracker, tokens(2), slots=2) == tokens(2)
    assert admit(tracker, tokens(2), slots=2) == tokens(2)


def test_where_nothing_is_enforced_no_host_refuses(tracker):
    assert admit(tracker, tokens(5), slots=1, enforce=False) == tokens(5)


def test_the_door_lets_a_host_import_no_more_than_its_slots_at_once(tracker):
    doors = [door(tracker, job, slots=2) for job in tokens(3)]

    assert doors == [Door.OPEN, Door.OPEN, Door.HOST_FULL]
    assert door(tracker, "9:1", host=2, slots=2) is Door.OPEN
    assert tracker.counters()["bounced_by_host"] == 1


def test_a_host_that_may_hold_nothing_is_refused_at_the_admission_and_at_the_door(tracker):
    assert admit(tracker, ["1:1"], slots=0) == []
    assert door(tracker, "1:1", slots=0) is Door.HOST_FULL


def test_jobs_that_wait_before_the_door_are_not_charged_at_it(tracker):
    admit(tracker, tokens(3), slots=1, enforce=False)

    assert door(tracker, "3:1", slots=1) is Door.OPEN


def test_a_job_that_holds_a_slot_keeps_it_though_its_host_is_full(tracker):
    door(tracker, "1:1", slots=1)

    assert door(tracker, "1:1", slots=1) is Door.OPEN
    assert door(tracker, "1:1", slots=0) is Door.OPEN


def test_an_admitted_job_passes_the_door_though_its_place_is_the_last(tracker):
    admit(tracker, tokens(2), slots=2)

    assert [door(tracker, job, slots=2) for job in tokens(2)] == [Door.OPEN] * 2


def test_a_lowered_bound_throws_nobody_out_and_lets_nobody_in(tracker):
    for job in tokens(3):
        door(tracker, job, slots=3)

    assert door(tracker, "9:1", slots=1) is Door.HOST_FULL
    assert members(tracker, Pool.IMPORTING) == set(tokens(3))


def test_a_released_job_makes_room_for_another_of_its_host(tracker):
    door(tracker, "1:1", slots=1)
    tracker.release("1:1")

    assert door(tracker, "2:1", slots=1) is Door.OPEN


def test_a_forgotten_job_makes_room_for_another_of_its_host(tracker):
    admit(tracker, ["1:1"], slots=1)
    tracker.forget("1:1")

    assert admit(tracker, ["2:1"], slots=1) == ["2:1"]


def test_a_job_whose_lease_ended_makes_room_by_itself(tracker):
    admit(tracker, ["1:1"], slots=1, lease=SHORT)
    door(tracker, "2:1", host=2, slots=1, lease=SHORT)
    time.sleep(0.1)

    assert admit(tracker, ["3:1"], slots=1) == ["3:1"]
    assert door(tracker, "4:1", host=2, slots=1) is Door.OPEN


def test_a_job_whose_lease_ended_is_counted_again_if_the_clock_jumps_back(tracker, redis_client):
    door(tracker, "1:1", slots=1, lease=SHORT)
    time.sleep(0.1)
    assert door(tracker, "2:1", slots=1) is Door.OPEN

    redis_client.zincrby("{mirroring}:importing", LEASE / timedelta(milliseconds=1), "1:1")
    tracker.release("2:1")

    assert door(tracker, "3:1", slots=1) is Door.HOST_FULL


def test_a_renewed_job_is_counted_on(tracker):
    door(tracker, "1:1", slots=1, lease=SHORT)
    tracker.renew(["1:1"], lease=LEASE)
    time.sleep(0.1)

    assert door(tracker, "2:1", slots=1) is Door.HOST_FULL


def test_the_jobs_of_the_hosts_are_rebuilt_with_the_pools(lost_tracker):
    announce(lost_tracker, slots=100)
    until = lost_tracker.now() + LEASE
    queued, flying = Lease("1:1", until, host=7), Lease("2:1", until, host=8)
    lost_tracker.rebuild(processing=[queued], importing=[flying, Lease("3:1", until)])

    assert admit(lost_tracker, ["4:1"], host=7, slots=1) == []
    assert door(lost_tracker, "5:1", host=8, slots=1) is Door.HOST_FULL
    assert door(lost_tracker, "6:1", host=8, slots=2) is Door.OPEN


def test_concurrent_jobs_of_one_host_never_exceed_its_slots(tracker, new_tracker):
    def enter(own, number):
        doors = [door(own, f"{number}0{job}:1", slots=11) for job in range(20)]
        return doors.count(Door.OPEN)

    assert sum(in_threads(new_tracker, enter)) == 11


def test_a_host_of_thousands_of_jobs_is_counted_whole(tracker):
    announce(tracker, slots=100_000)
    jobs = tokens(5000)
    for at in range(0, 5000, 500):
        admit(tracker, jobs[at : at + 500], slots=5000, capacity=100_000)
    tracker.forget(*jobs[:10])

    assert len(admit(tracker, tokens(20, start=9001), slots=5000, capacity=100_000)) == 10


def test_a_set_of_jobs_does_not_stay_for_ever(tracker, redis_client):
    door(tracker, "1:1", host=5, slots=1)

    assert timedelta(hours=6) < timedelta(seconds=redis_client.ttl("{mirroring}:host:5")) <= timedelta(days=1)
