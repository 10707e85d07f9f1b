"""Many at once: the counts are checked and changed in one step of the server."""

import threading
from datetime import timedelta

from mirroring.tracker.job_tracker import Door
from tests.making import announce

LEASE = timedelta(seconds=60)
THREADS = 8


def in_threads(new_tracker, work):
    """Run `work(tracker, number)` in threads with connections of their own, all let go at once."""
    barrier, results, errors = threading.Barrier(THREADS), [None] * THREADS, []

    def run(number):
        own = new_tracker()
        own.now()
        barrier.wait()
        try:
            results[number] = work(own, number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    return results


def test_concurrent_admissions_never_exceed_the_capacity(tracker, new_tracker):
    def admit(own, number):
        batches = ([f"{number}0{batch}{job}:1" for job in range(5)] for batch in range(10))
        return sum(len(own.admit(jobs, capacity=37, lease=LEASE, enforce=True)) for jobs in batches)

    assert sum(in_threads(new_tracker, admit)) == 37
    assert tracker.counts(max_capacity=37).processing == 37


def test_concurrent_jobs_at_the_door_never_exceed_the_capacity(tracker, new_tracker):
    def enter(own, number):
        doors = [own.door(f"{number}0{job}:1", capacity=11, lease=LEASE) for job in range(20)]
        return doors.count(Door.OPEN)

    assert sum(in_threads(new_tracker, enter)) == 11
    assert tracker.counts(max_capacity=11).importing == 11


def test_slots_that_come_and_go_are_never_more_than_the_capacity_nor_less_than_none(tracker, new_tracker):
    peaks = []

    def work(own, number):
        for job in range(40):
            token = f"{number}0{job}:1"
            own.admit([token], capacity=5, lease=LEASE, enforce=True)
            entered = own.door(token, capacity=5, lease=LEASE)
            counts = own.counts(max_capacity=5)
            peaks.append(counts.importing)
            if entered is Door.OPEN:
                own.release(token)
                own.release(token)

    in_threads(new_tracker, work)

    assert 0 <= min(peaks) <= max(peaks) <= 5
    assert max(peaks) > 1
    counts = tracker.counts(max_capacity=5)
    assert (counts.processing, counts.importing) == (0, 0)


def test_of_many_that_want_to_lead_one_does(tracker, new_tracker):
    announce(tracker, slots=1)

    leads = in_threads(new_tracker, lambda own, number: own.lead(f"owner-{number}", lease=LEASE))

    assert leads.count(True) == 1
