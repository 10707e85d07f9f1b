"""The verbs that give and take slots: admit, door, renew, release, count."""

import time
from datetime import timedelta

import pytest

from mirroring.tracker.job_tracker import Door, Pool
from tests.making import announce

LEASE = timedelta(seconds=60)
SHORT = timedelta(milliseconds=60)
PLENTY = 1000


def tokens(count, *, start=1):
    return [f"{number}:1" for number in range(start, start + count)]


def admit(tracker, jobs, *, capacity=PLENTY, lease=LEASE, enforce=True):
    return len(tracker.admit(jobs, capacity=capacity, lease=lease, enforce=enforce))


def door(tracker, job, *, capacity=PLENTY, lease=LEASE):
    return tracker.door(job, capacity=capacity, lease=lease)


def held(tracker, capacity=PLENTY):
    counts = tracker.counts(max_capacity=capacity)
    return counts.processing, counts.importing


def members(tracker, pool):
    return {lease.token for lease in tracker.leases(pool)}


# -- admit ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_admitted_in_its_order_until_the_capacity_is_full(tracker):
    assert admit(tracker, tokens(5), capacity=3) == 3

    assert members(tracker, Pool.PROCESSING) == {"1:1", "2:1", "3:1"}


def test_what_is_imported_and_what_is_processed_both_count(tracker):
    door(tracker, "90:1")
    admit(tracker, ["91:1"])

    assert admit(tracker, tokens(5), capacity=4) == 2
    assert held(tracker) == (3, 1)


def test_without_enforcement_every_job_is_tracked_and_none_refused(tracker):
    assert admit(tracker, tokens(5), capacity=2, enforce=False) == 5
    assert held(tracker) == (5, 0)


def test_a_batch_that_is_admitted_twice_is_charged_once(tracker):
    admit(tracker, tokens(3), capacity=4)

    assert admit(tracker, tokens(3), capacity=4) == 3
    assert held(tracker) == (3, 0)
    assert admit(tracker, tokens(5), capacity=4) == 4


def test_an_empty_batch_admits_nothing(tracker):
    assert admit(tracker, []) == 0


def test_a_batch_of_five_thousand_is_admitted_at_once(tracker):
    announce(tracker, slots=10_000)

    assert admit(tracker, tokens(5000), capacity=10_000) == 5000
    assert held(tracker) == (5000, 0)


# -- the capacity in force ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("setting", "slots", "in_force"), [(7, 3, 3), (3, 7, 3), (0, 7, 0), (7, 0, 0)])
def test_the_capacity_in_force_is_the_smaller_of_the_setting_and_the_announced_slots(
    tracker, setting, slots, in_force
):
    announce(tracker, slots=slots)

    assert tracker.counts(max_capacity=setting).capacity == in_force
    assert admit(tracker, tokens(9), capacity=setting) == in_force
    assert [door(tracker, f"{n}:2", capacity=setting) for n in range(9)].count(Door.OPEN) == in_force


def test_the_slots_of_all_live_workers_add_up_and_those_of_dead_ones_do_not(tracker):
    announce(tracker, slots=4)
    announce(tracker, slots=5, name="second")
    announce(tracker, slots=90, name="dying", life=SHORT)
    assert tracker.counts(max_capacity=PLENTY).capacity == 99

    time.sleep(0.1)

    assert tracker.counts(max_capacity=PLENTY).capacity == 9


def test_a_negative_setting_is_no_capacity_and_not_a_debt(tracker):
    assert tracker.counts(max_capacity=-5).capacity == 0
    assert admit(tracker, tokens(1), capacity=-5) == 0
    assert door(tracker, "1:1", capacity=-5) is Door.FULL


def test_with_more_held_than_the_capacity_nothing_is_admitted_and_nothing_is_thrown_out(tracker):
    for job in tokens(5):
        door(tracker, job)

    assert admit(tracker, ["9:1"], capacity=2) == 0
    assert door(tracker, "9:1", capacity=2) is Door.FULL
    assert held(tracker, capacity=2) == (0, 5)


# -- the door -------------------------------------------------------------------------------------------------------


def test_the_door_takes_a_job_out_of_processing_and_into_importing(tracker):
    admit(tracker, ["1:1"])

    assert door(tracker, "1:1") is Door.OPEN
    assert (members(tracker, Pool.PROCESSING), members(tracker, Pool.IMPORTING)) == (set(), {"1:1"})


def test_the_door_is_open_also_to_a_job_that_was_never_admitted(tracker):
    assert door(tracker, "1:1") is Door.OPEN


def test_a_full_door_refuses_counts_it_and_still_takes_the_job_out_of_processing(tracker):
    door(tracker, "1:1")
    admit(tracker, ["2:1"])

    assert door(tracker, "2:1", capacity=1) is Door.FULL
    assert held(tracker) == (0, 1)
    assert tracker.counters()["bounced"] == 1


def test_a_job_that_comes_through_the_door_twice_holds_one_slot(tracker):
    assert [door(tracker, "1:1", capacity=1) for _ in range(2)] == [Door.OPEN, Door.OPEN]
    assert held(tracker) == (0, 1)


def test_another_epoch_of_the_same_mirror_is_another_job(tracker):
    door(tracker, "1:1")

    assert door(tracker, "1:2", capacity=1) is Door.FULL


# -- leases ---------------------------------------------------------------------------------------------------------


def test_the_slot_of_a_job_that_nobody_renews_is_free_when_its_lease_ends(tracker):
    door(tracker, "1:1", capacity=1, lease=SHORT)
    assert door(tracker, "2:1", capacity=1) is Door.FULL

    time.sleep(0.1)

    assert held(tracker) == (0, 0)
    assert door(tracker, "2:1", capacity=1) is Door.OPEN


def test_an_admission_that_came_to_nothing_is_free_when_its_lease_ends(tracker):
    admit(tracker, tokens(2), capacity=2, lease=SHORT)
    assert admit(tracker, ["9:1"], capacity=2) == 0

    time.sleep(0.1)

    assert admit(tracker, ["9:1"], capacity=2) == 1


def test_deadlines_are_on_the_clock_of_the_server(tracker):
    before = tracker.now()
    door(tracker, "1:1")
    after = tracker.now()

    [lease] = tracker.leases(Pool.IMPORTING)

    assert before + LEASE - timedelta(milliseconds=2) <= lease.deadline <= after + LEASE


def test_a_renewed_slot_outlives_its_first_lease(tracker):
    door(tracker, "1:1", lease=SHORT)

    assert tracker.renew(["1:1"], lease=LEASE) == {"1:1"}
    time.sleep(0.1)
    assert held(tracker) == (0, 1)


def test_a_slot_that_ran_out_is_not_revived(tracker):
    door(tracker, "1:1", lease=SHORT)
    time.sleep(0.1)

    assert tracker.renew(["1:1"], lease=LEASE) == set()
    assert held(tracker) == (0, 0)


def test_of_a_batch_those_are_renewed_that_hold_a_slot(tracker):
    for job in ("1:1", "3:1"):
        door(tracker, job)
    admit(tracker, ["4:1"])

    assert tracker.renew(["1:1", "2:1", "3:1", "4:1"], lease=LEASE) == {"1:1", "3:1"}
    assert tracker.renew([], lease=LEASE) == set()
    assert held(tracker) == (1, 2)


# -- release --------------------------------------------------------------------------------------------------------


def test_a_release_frees_what_a_job_holds_in_either_pool_and_may_come_twice(tracker):
    admit(tracker, ["1:1"])
    door(tracker, "2:1")

    for _ in range(2):
        tracker.release("1:1")
        tracker.release("2:1")

    assert held(tracker) == (0, 0)


def test_a_release_of_one_epoch_leaves_another_alone(tracker):
    door(tracker, "1:2")

    tracker.release("1:1")
    tracker.forget("1:1")

    assert held(tracker) == (0, 1)


def test_thousands_are_renewed_at_once(tracker):
    announce(tracker, slots=5000)
    for job in tokens(10):
        door(tracker, job)

    assert tracker.renew(tokens(5000), lease=LEASE) == set(tokens(10))


@pytest.mark.parametrize("count", [0, 1, 5000, 20_000])
def test_any_number_of_jobs_is_forgotten_at_once(tracker, count):
    for start in range(0, count, 5000):
        admit(tracker, tokens(min(count, 5000), start=start + 1), enforce=False)
    door(tracker, "0:9")

    tracker.forget(*tokens(count))

    assert held(tracker) == (0, 1)
    tracker.forget(*tokens(count), "0:9")
    assert held(tracker) == (0, 0)


# -- count ----------------------------------------------------------------------------------------------------------


def test_a_count_says_everything_of_one_instant(tracker):
    announce(tracker, slots=7)
    admit(tracker, tokens(2))
    door(tracker, "9:1")

    counts = tracker.counts(max_capacity=5)

    assert (counts.ready, counts.capacity, counts.slots) == (True, 5, 7)
    assert (counts.processing, counts.importing) == (2, 1)
    assert abs(counts.at - tracker.now()) < timedelta(seconds=1)


def test_events_are_counted(tracker):
    tracker.note("bounced")
    tracker.note("bounced", 4)

    assert tracker.counters()["bounced"] == 5
