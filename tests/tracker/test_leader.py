"""The leader's lease, the wake-ups and the workers' announcements."""

import threading
import time
from datetime import timedelta

from mirroring.tracker.job_tracker import TAG
from tests.making import announce

LEASE = timedelta(seconds=60)
SHORT = timedelta(milliseconds=60)


def test_one_leads_at_a_time_and_keeps_the_lead_by_asking_again(tracker):
    assert tracker.lead("first", lease=LEASE)
    assert not tracker.lead("second", lease=LEASE)
    assert tracker.lead("first", lease=LEASE)


def test_who_came_in_vain_makes_the_leader_run_once_more(tracker):
    tracker.lead("first", lease=LEASE)
    tracker.lead("second", lease=LEASE)
    tracker.lead("third", lease=LEASE)

    assert tracker.resign("first") is True
    assert tracker.lead("second", lease=LEASE)
    assert tracker.resign("second") is False


def test_a_leader_that_vanished_is_followed_when_its_lease_ends(tracker):
    tracker.lead("dead", lease=SHORT)
    time.sleep(0.1)

    assert tracker.lead("next", lease=LEASE)
    assert not tracker.lead("dead", lease=LEASE)


def test_who_does_not_lead_takes_nothing_by_resigning(tracker):
    tracker.lead("first", lease=LEASE)

    tracker.resign("second")

    assert not tracker.lead("second", lease=LEASE)


def test_two_roles_have_a_leader_each(tracker):
    assert tracker.lead("one", lease=LEASE)
    assert tracker.lead("other", lease=LEASE, role="repairer")
    assert tracker.resign("other", role="repairer") is False
    assert not tracker.lead("other", lease=LEASE)


# -- wake-ups -------------------------------------------------------------------------------------------------------


def test_of_many_that_knock_the_first_sends_the_wake_up(tracker):
    assert [tracker.knock() for _ in range(5)] == [True, False, False, False, False]


def test_a_knock_after_a_run_began_wants_another_run(tracker):
    tracker.knock()

    tracker.begin("a run", lease=SHORT, max_capacity=5)
    tracker.resign("a run")

    assert tracker.knock() is True


def test_a_run_begins_with_the_lead_and_with_what_is_held(tracker):
    announce(tracker, slots=3)
    tracker.door("1:1", capacity=5, lease=LEASE)
    tracker.admit(["2:1"], capacity=5, lease=LEASE, enforce=True)
    tracker.refill(by_event=True)

    first, second = (tracker.begin(name, lease=LEASE, max_capacity=5) for name in ("first", "second"))

    assert (first.leads, second.leads) == (True, False)
    assert first.refills_by_event
    held = first.counts
    assert (held.ready, held.capacity, held.importing, held.processing, held.slots) == (True, 3, 1, 1, 3)
    assert abs(held.at - tracker.now()) < timedelta(seconds=2)
    assert tracker.resign("first") is True, "the second came in vain"


def test_while_somebody_leads_freed_slots_and_knocks_remind_it_and_need_no_message(tracker):
    tracker.refill(by_event=True)
    tracker.begin("leader", lease=LEASE, max_capacity=5)

    assert [tracker.release("1:1"), tracker.release("2:1", "3:1"), tracker.knock()] == [False] * 3

    assert tracker.listen(timedelta(seconds=5)) is True
    tracker.begin("leader", lease=LEASE, max_capacity=5)
    assert tracker.listen(timedelta(milliseconds=50)) is False, "one run is enough for all of them"
    assert tracker.resign("leader") is False
    assert tracker.knock() is True


def test_a_leader_that_listens_hears_at_once_of_a_freed_slot(tracker):
    tracker.refill(by_event=True)
    tracker.begin("leader", lease=LEASE, max_capacity=5)
    later = threading.Timer(0.2, tracker.release, ["1:1"])
    later.start()
    began = time.monotonic()

    assert tracker.listen(timedelta(seconds=4)) is True

    assert time.monotonic() - began < 2
    later.join()


def test_what_a_dead_leader_was_reminded_of_is_not_lost(tracker):
    tracker.begin("dead", lease=SHORT, max_capacity=5)
    assert tracker.knock() is False
    assert not tracker.left_behind()
    time.sleep(0.1)

    assert tracker.left_behind()
    assert tracker.knock() is True, "nobody leads: a message is wanted"
    tracker.begin("next", lease=LEASE, max_capacity=5)
    assert not tracker.left_behind()
    assert tracker.knock() is False
    assert tracker.resign("dead") is False
    assert tracker.resign("next") is True
    assert not tracker.left_behind()


def test_a_leader_that_died_with_what_it_was_asked_for_is_noticed(tracker):
    tracker.begin("first", lease=SHORT, max_capacity=5)
    tracker.knock()
    tracker.begin("first", lease=SHORT, max_capacity=5)
    time.sleep(0.1)

    assert tracker.left_behind()
    tracker.begin("next", lease=LEASE, max_capacity=5)
    tracker.resign("next")
    assert not tracker.left_behind()


def test_a_dead_leader_is_followed_however_far_the_clock_jumps_back(tracker, redis_client):
    tracker.lead("dead", lease=LEASE)
    assert not tracker.lead("next", lease=LEASE)

    redis_client.zincrby(f"{TAG}:leader", timedelta(hours=1) / timedelta(milliseconds=1), "dead")

    assert tracker.lead("next", lease=LEASE)
    assert not tracker.lead("dead", lease=LEASE)


def test_a_wake_up_that_was_lost_stands_in_nobodys_way_for_long(tracker, redis_client):
    tracker.knock()

    assert 0 < redis_client.pttl(f"{TAG}:wake") <= 5000


def test_a_freed_slot_wakes_the_scheduler_only_where_it_refills_by_event(tracker):
    assert tracker.release("1:1") is False
    tracker.refill(by_event=False)
    assert tracker.release("1:1") is False
    tracker.refill(by_event=True)
    assert tracker.release("1:1") is True


def test_slots_freed_at_once_wake_the_scheduler_once(tracker):
    tracker.refill(by_event=True)

    assert [tracker.release(f"{number}:1") for number in range(3)] == [True, False, False]
    assert tracker.knock() is False


def test_what_is_forgotten_wakes_nobody_and_leaves_the_way_free_for_who_does(tracker):
    tracker.refill(by_event=True)

    tracker.forget("1:1")

    assert tracker.knock() is True


# -- announcements --------------------------------------------------------------------------------------------------


def test_workers_are_known_by_what_they_say_of_themselves(lost_tracker):
    at = lost_tracker.announce("imports@a", slots=8, flags={"some_flag": True}, life=LEASE)

    [worker] = lost_tracker.workers()

    assert (worker.name, worker.slots, worker.flags) == ("imports@a", 8, {"some_flag": True})
    assert abs(worker.expires_at - at - LEASE) <= timedelta(milliseconds=2)


def test_a_worker_that_says_something_new_is_known_by_that(tracker):
    announce(tracker, slots=2)
    announce(tracker, slots=0)

    assert [worker.slots for worker in tracker.workers()] == [0]


def test_a_worker_that_leaves_or_falls_silent_is_forgotten(tracker, redis_client):
    announce(tracker, slots=8, name="leaver")
    announce(tracker, slots=8, name="silent", life=SHORT)

    tracker.leave("leaver")
    tracker.leave("leaver")
    time.sleep(0.1)

    assert [worker.name for worker in tracker.workers()] == ["worker"]
    announce(tracker, slots=1, name="other")
    assert set(redis_client.hkeys(f"{TAG}:slots")) == {b"worker", b"other"}
    assert set(redis_client.hkeys(f"{TAG}:notes")) == {b"worker", b"other"}
