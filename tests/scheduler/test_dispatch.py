"""update_all_mirrors, in all four positions of its two flags."""

import logging  # goes with project_import_schedule_worker_job_tracker
from datetime import timedelta

import pytest
import redis
from django.db import connection

from mirroring.models import ImportState
from mirroring.scheduler import dispatch
from mirroring.stack import valkey as private_valkey
from mirroring.tracker.job_tracker import JobTracker, TrackerDown
from tests.making import MINUTE, NOW, announce, state_of
from tests.scheduler.desk import (
    FORCED,
    LEGACY,
    NAMES,
    OBSERVED,
    POSITIONS,
    TRACKED,
    WAITING,  # goes with update_all_mirrors_job_tracker
    counts,
    to_the_door,
    turn,
)

IN_ALL = pytest.mark.parametrize("position", POSITIONS, ids=NAMES.get)
LEASE = timedelta(seconds=60)


def due_mirrors(make_mirror, count, *, hosts=1):
    """Make mirrors that are due, the longest-waiting first."""
    return [
        make_mirror(
            url=f"https://git{number % hosts}.example.org/a/b.git",
            next_execution_at=NOW - (count - number) * MINUTE,
        )
        for number in range(count)
    ]


def ids(claims):
    return [claim.mirror_id for claim in claims]


# -- what every position does ---------------------------------------------------------------------------------------


@IN_ALL
def test_what_is_due_is_enqueued_the_longest_waiting_first(position, desk, make_mirror):
    turn(position)
    mirrors = due_mirrors(make_mirror, 4)

    assert desk.run().enqueued == 4

    assert ids(desk.sent) == [mirror.pk for mirror in mirrors]
    assert {claim.epoch for claim in desk.sent} == {1}


@IN_ALL
def test_no_more_is_enqueued_than_there_is_room(position, desk, make_mirror, configure):
    turn(position)
    configure(mirror_max_capacity=3)
    mirrors = due_mirrors(make_mirror, 5)

    assert desk.run().enqueued == 3

    assert ids(desk.sent) == [mirror.pk for mirror in mirrors[:3]]
    assert ids(ImportState.objects.claim_due(9, now=NOW, until=NOW + LEASE)) == [m.pk for m in mirrors[3:]]


@IN_ALL
def test_what_is_being_imported_takes_up_room(position, desk, make_mirror, configure, tracker):
    turn(position)
    configure(mirror_max_capacity=3)
    due_mirrors(make_mirror, 5)
    for token in ("901:1", "902:1"):
        tracker.door(token, capacity=3, lease=LEASE)

    assert desk.run().enqueued == 1


@IN_ALL
def test_the_slots_of_the_workers_bound_a_run_as_the_setting_does(position, desk, make_mirror, tracker):
    turn(position)
    announce(tracker, slots=2)
    due_mirrors(make_mirror, 5)

    assert desk.run().enqueued == 2


@IN_ALL
@pytest.mark.parametrize("capacity", [0, 2])
def test_without_room_nothing_is_claimed(position, capacity, desk, make_mirror, configure, tracker):
    turn(position)
    configure(mirror_max_capacity=capacity)
    for token in ("901:1", "902:1"):
        tracker.door(token, capacity=2, lease=LEASE)
    mirror = make_mirror()

    done = desk.run()

    assert (done.enqueued, done.again, desk.polls) == (0, False, [])
    assert state_of(mirror).epoch == 0


@IN_ALL
def test_with_nothing_due_nothing_is_enqueued_waited_for_or_run_again(position, desk, make_mirror):
    turn(position)
    make_mirror(next_execution_at=NOW + timedelta(days=9999))

    done = desk.run()

    assert (done.enqueued, done.again) == (0, False)
    assert (desk.batches, desk.polls, desk.reruns) == ([], [], 0)


@IN_ALL
@pytest.mark.parametrize(
    "state",
    [
        {"active": False},
        {"hard_failed": True},
        {"status": "scheduled", "claim_expires_at": NOW + timedelta(days=9999)},
        {"status": "started", "claim_expires_at": NOW + timedelta(days=9999)},
        {"next_execution_at": NOW + timedelta(days=9999)},
    ],
    ids=["paused or removed", "hard-failed", "scheduled", "started", "due later"],
)
def test_a_mirror_that_must_not_run_is_not_enqueued(position, state, desk, make_mirror):
    turn(position)
    make_mirror(**state)

    assert desk.run().enqueued == 0


@IN_ALL
def test_many_are_enqueued_in_batches_of_five_hundred(position, desk, make_mirror, configure, tracker):
    turn(position)
    configure(mirror_max_capacity=1200)
    announce(tracker, slots=5000)
    first = make_mirror()
    copies(first, 1300)

    assert desk.run().enqueued == 1200

    assert desk.batches == [500, 500, 200]
    assert len(set(desk.sent)) == 1200


def copies(mirror, count):
    from mirroring.models import Mirror

    made = Mirror.objects.bulk_create(
        [Mirror(group=mirror.group, host=mirror.host, name=f"copy-{n}", url=mirror.url) for n in range(count)]
    )
    ImportState.objects.bulk_create(
        [ImportState(mirror=m, host=m.host, next_execution_at=NOW, import_due_at=NOW) for m in made]
    )


@IN_ALL
@pytest.mark.parametrize("mode", ["paused_all", "silent_mode"])
def test_when_all_is_held_back_nothing_is_claimed(position, mode, desk, make_mirror, configure):
    turn(position)
    configure(**{mode: True})
    mirror = make_mirror()

    assert desk.run().enqueued == 0
    assert state_of(mirror).epoch == 0


@IN_ALL
def test_a_tracker_that_lost_its_memory_admits_nothing(position, desk, make_mirror, tracker, redis_client):
    turn(position)
    redis_client.delete("{mirroring}:ready")
    mirror = make_mirror()

    assert desk.run().enqueued == 0
    assert state_of(mirror).epoch == 0


@pytest.mark.django_db(transaction=True)
def test_a_database_that_takes_no_writes_stops_a_run_before_it_begins(desk, make_mirror):
    mirror = make_mirror()
    only_reads, writes_again = {
        "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        "postgresql": ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(only_reads)
    try:
        assert desk.run().enqueued == 0
    finally:
        with connection.cursor() as cursor:
            cursor.execute(writes_again)

    assert state_of(mirror).epoch == 0
    assert desk.run().enqueued == 1


# -- one run at a time ----------------------------------------------------------------------------------------------


@IN_ALL
def test_while_another_run_leads_nothing_is_done_and_that_run_is_told(position, desk, make_mirror, tracker):
    turn(position)
    make_mirror()
    tracker.lead("another", lease=dispatch.LEADER_LEASE)

    done = desk.run()

    assert (done.enqueued, done.again) == (0, False)
    assert tracker.resign("another") is True


@IN_ALL
def test_a_run_gives_the_lead_back_also_when_it_breaks(position, desk, make_mirror, tracker):
    turn(position)
    make_mirror()

    def broken(claims):
        raise ConnectionError("the broker is away")

    with pytest.raises(ConnectionError):
        desk.run(enqueue=broken)

    assert tracker.lead("next", lease=LEASE)


@IN_ALL
def test_who_comes_while_a_run_is_on_has_it_run_again(position, desk, make_mirror, tracker):
    turn(position)
    make_mirror()

    def meanwhile(limit, **when):
        tracker.lead("came in vain", lease=LEASE)
        return ImportState.objects.claim_due(limit, **when)

    assert desk.run(due=meanwhile).again
    assert desk.reruns == 1


@IN_ALL
def test_what_becomes_due_after_a_run_began_may_knock(position, desk, tracker):
    turn(position)
    tracker.knock()

    desk.run()

    assert tracker.knock() is True


# -- the first flag: every job is tracked from before it is enqueued --------------------------------------------------


@pytest.mark.parametrize(("position", "tracked"), [(LEGACY, 0), (OBSERVED, 4), (TRACKED, 4), (FORCED, 0)])
def test_jobs_are_tracked_where_the_first_flag_says_so(position, tracked, desk, make_mirror, tracker):
    turn(position)
    due_mirrors(make_mirror, 4)

    desk.run()

    assert counts(tracker) == (tracked, 0)


@pytest.mark.parametrize("position", [OBSERVED, TRACKED])
def test_a_job_is_tracked_before_it_is_enqueued(position, desk, make_mirror, tracker):
    turn(position)
    due_mirrors(make_mirror, 2)
    seen = []

    desk.run(enqueue=lambda claims: seen.append(counts(tracker)))

    assert seen == [(2, 0)]


# This goes with update_all_mirrors_job_tracker.
def test_tracking_alone_refuses_nothing(desk, make_mirror, configure, tracker):
    turn(OBSERVED)
    configure(mirror_max_capacity=2)
    tracker.admit(["901:1", "902:1", "903:1"], capacity=2, lease=LEASE, enforce=False)
    due_mirrors(make_mirror, 4)

    done = desk.run()

    assert (done.enqueued, done.refused) == (2, 0)
    assert counts(tracker) == (5, 0)


# This goes with project_import_schedule_worker_job_tracker.
def test_the_second_flag_without_the_first_behaves_as_both_off_and_says_so(
    desk, make_mirror, tracker, caplog
):
    turn(FORCED)
    make_mirror()

    with caplog.at_level(logging.WARNING, logger="mirroring.scheduler.dispatch"):
        desk.run()

    assert "without the first" in caplog.text
    assert counts(tracker) == (0, 0)
    assert desk.polls == [0]


# -- a slow queue ---------------------------------------------------------------------------------------------------


def two_runs_before_the_queue_moves(desk, make_mirror, configure):
    """Run twice while the queue stands still, then let all jobs go to the door. Return what each said."""
    configure(mirror_max_capacity=4, schedule_wait_timeout_seconds=0)
    due_mirrors(make_mirror, 12, hosts=12)  # What a host is held to must not do the capacity's work.
    desk.lengths = lambda: len(desk.sent)
    desk.run()
    assert desk.run().refused == 0
    return [to_the_door(claim, desk.tracker) for claim in desk.sent]


# This goes with update_all_mirrors_job_tracker.
@pytest.mark.parametrize("position", WAITING, ids=NAMES.get)
def test_where_the_queue_is_not_counted_a_slow_one_is_over_scheduled_and_the_door_holds_the_cap(
    position, desk, make_mirror, configure, tracker
):
    turn(position)

    passages = two_runs_before_the_queue_moves(desk, make_mirror, configure)

    assert [passages.count(word) for word in ("scheduled", "bounced")] == [4, 4]
    assert counts(tracker) == (0, 4)
    assert tracker.counters()["bounced"] == tracker.counters()["over_scheduled"] == 4
    assert ImportState.objects.in_flight().count() == 4
    assert ImportState.objects.overdue(now=NOW + timedelta(days=9999)).count() == 8


def test_where_it_is_counted_a_slow_queue_is_never_over_scheduled(desk, make_mirror, configure, tracker):
    turn(TRACKED)

    passages = two_runs_before_the_queue_moves(desk, make_mirror, configure)

    assert passages == ["scheduled"] * 4
    assert counts(tracker) == (0, 4)
    assert not {"bounced", "over_scheduled"} & tracker.counters().keys()
    assert ImportState.objects.filter(epoch__gt=0).count() == 4, "a run that has no room claims nothing"


# This goes with update_all_mirrors_job_tracker.
def test_the_excess_is_observed_by_the_first_flag_alone(desk, make_mirror, configure, tracker):
    turn(OBSERVED)
    configure(mirror_max_capacity=4, schedule_wait_timeout_seconds=0)
    due_mirrors(make_mirror, 12)
    desk.lengths = lambda: len(desk.sent)

    desk.run()
    desk.run()

    assert counts(tracker) == (8, 0)


# -- waiting and running again --------------------------------------------------------------------------------------


# This goes with update_all_mirrors_job_tracker.
@pytest.mark.parametrize("position", WAITING, ids=NAMES.get)
def test_a_run_waits_until_the_queue_is_empty(position, desk, make_mirror):
    turn(position)
    make_mirror()
    lengths = iter([3, 2, 1, 0])
    desk.lengths = lambda: next(lengths)

    desk.run()

    assert desk.polls == [3, 2, 1, 0]


# This goes with update_all_mirrors_job_tracker.
def test_a_run_pauses_after_each_look_at_the_queue_and_once_before_it_runs_again(
    desk, make_mirror, configure
):
    turn(WAITING[-1])
    configure(reschedule_wait_seconds=7)
    make_mirror()
    lengths, pauses = iter([3, 2, 0]), []
    desk.lengths = lambda: next(lengths)

    desk.run(sleep=pauses.append)

    assert pauses == [7, 7, 7]
    assert desk.reruns == 1


# This goes with update_all_mirrors_job_tracker.
def test_a_run_waits_no_longer_than_it_may(desk, make_mirror, configure):
    turn(WAITING[-1])
    configure(schedule_wait_timeout_seconds=1, reschedule_wait_seconds=1)
    make_mirror()
    desk.lengths = lambda: 1

    desk.run()

    assert 1 <= len(desk.polls) <= 3


# This goes with update_all_mirrors_job_tracker.
def test_while_a_run_waits_it_keeps_the_lead(desk, make_mirror, tracker):
    turn(WAITING[-1])
    make_mirror()
    led = []

    def others_try():
        led.append(tracker.lead("another", lease=LEASE))
        return 3 - len(led)

    desk.lengths = others_try

    desk.run()

    assert led == [False, False, False]


def test_with_both_flags_on_nothing_is_waited_for(desk, make_mirror):
    turn(TRACKED)
    make_mirror()

    done = desk.run()

    assert (desk.polls, done.again, desk.reruns) == ([], False, 0)


def test_with_both_flags_on_the_leader_fills_a_slot_that_is_freed_while_it_stays(
    desk, make_mirror, configure, tracker
):
    turn(TRACKED)
    configure(mirror_max_capacity=1)
    first, second, third = due_mirrors(make_mirror, 3)
    desk.patience = timedelta(seconds=0.5)
    freed = []

    def ends_at_once(claims):
        desk.sent += claims
        rest = {"claim_expires_at": None, "import_due_at": NOW + timedelta(days=9000)}
        ImportState.objects.filter(pk__in=ids(claims)).update(**rest)
        if len(freed) < 2:
            freed.append(tracker.release(*(claim.token for claim in claims)))

    done = desk.run(enqueue=ends_at_once)

    assert ids(desk.sent) == [first.pk, second.pk, third.pk]
    assert (done.enqueued, done.again, desk.reruns) == (3, False, 0)
    assert freed == [False, False], "no message is wanted while somebody leads"


def test_a_leader_that_leaves_sends_for_another_if_it_was_asked_again(
    desk, make_mirror, configure, tracker, monkeypatch
):
    monkeypatch.setattr(dispatch, "STAY", timedelta(0))
    turn(TRACKED)
    configure(mirror_max_capacity=1)
    due_mirrors(make_mirror, 2)
    desk.patience = timedelta(seconds=5)

    done = desk.run(enqueue=lambda claims: tracker.release(*(claim.token for claim in claims)))

    assert (done.enqueued, done.again, desk.reruns) == (1, True, 1)


# This goes with update_all_mirrors_job_tracker.
def test_a_leader_that_stays_sees_the_second_flag_turned_off(desk, make_mirror, configure, tracker):
    turn(TRACKED)
    configure(mirror_max_capacity=1, schedule_wait_timeout_seconds=0, reschedule_wait_seconds=0)
    due_mirrors(make_mirror, 3)
    desk.patience = timedelta(seconds=5)

    def turned_off_meanwhile(claims):
        tracker.release(*(claim.token for claim in claims))
        turn(WAITING[-1])

    assert desk.run(enqueue=turned_off_meanwhile).enqueued == 2
    assert tracker.release("1:9") is False, "freed slots wake nobody any more"


# This goes with update_all_mirrors_job_tracker.
@pytest.mark.parametrize("position", WAITING, ids=NAMES.get)
@pytest.mark.parametrize(
    ("capacity", "threshold", "importing", "again"),
    [
        (10, 3, 0, True),
        (10, 3, 7, True),
        (10, 3, 8, False),
        (10, 50, 0, True),  # a threshold above the capacity asks for all of it
        (10, 50, 1, False),
        (10, 0, 9, True),
        (10, 0, 10, False),
    ],
)
def test_a_run_is_followed_by_another_if_enough_is_free(
    position, capacity, threshold, importing, again, desk, make_mirror, configure, tracker
):
    turn(position)
    configure(mirror_max_capacity=capacity, mirror_capacity_threshold=threshold)
    make_mirror()

    def fills_up(claims):
        for number in range(importing):
            tracker.door(f"{number}:9", capacity=capacity, lease=LEASE)

    done = desk.run(enqueue=fills_up)

    assert done.again is again
    assert desk.reruns == int(again)


@pytest.mark.parametrize(("position", "wakes"), [(LEGACY, False), (OBSERVED, False), (TRACKED, True)])
def test_freed_slots_wake_the_scheduler_only_with_both_flags_on(position, wakes, desk, tracker):
    turn(position)

    desk.run()

    assert tracker.release("1:1") is wakes


# -- admission ------------------------------------------------------------------------------------------------------


def test_what_is_refused_at_the_admission_is_due_again_at_once(desk, make_mirror, configure, tracker):
    turn(TRACKED)
    configure(mirror_max_capacity=3)
    mirrors = due_mirrors(make_mirror, 3)

    def others_were_first(limit, **when):
        tracker.admit(["901:1", "902:1"], capacity=3, lease=LEASE, enforce=True)
        return ImportState.objects.claim_due(limit, **when)

    done = desk.run(due=others_were_first)

    assert (done.enqueued, done.refused) == (1, 2)
    assert ids(desk.sent) == [mirrors[0].pk]
    assert [state_of(mirror).import_due_at is None for mirror in mirrors] == [True, False, False]
    assert counts(tracker) == (3, 0)


@pytest.mark.parametrize("position", [OBSERVED, TRACKED])
def test_if_the_tracker_loses_its_memory_in_mid_run_all_is_given_back(
    position, desk, make_mirror, redis_client
):
    turn(position)
    mirrors = due_mirrors(make_mirror, 3)

    def and_then_it_forgets(limit, **when):
        claims = ImportState.objects.claim_due(limit, **when)
        redis_client.flushall()
        return claims

    done = desk.run(due=and_then_it_forgets)

    assert (done.enqueued, done.refused, desk.sent) == (0, 3, [])
    assert all(state_of(mirror).import_due_at for mirror in mirrors)


@pytest.mark.parametrize("position", [OBSERVED, TRACKED])
def test_if_redis_goes_away_in_mid_run_all_is_given_back(position, desk, make_mirror, tmp_path_factory):
    turn(position)
    mirrors = due_mirrors(make_mirror, 3)
    server = private_valkey.start(tmp_path_factory.mktemp("valkey"))
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        dying = JobTracker(client)
        dying.rebuild(processing=[], importing=[])
        announce(dying, slots=10)

        def and_then_it_dies(limit, **when):
            claims = ImportState.objects.claim_due(limit, **when)
            private_valkey.stop(server)
            return claims

        with pytest.raises(TrackerDown):
            desk.run(due=and_then_it_dies, tracker=dying)

    assert desk.sent == []
    assert all(state_of(mirror).import_due_at for mirror in mirrors)


# This goes with project_import_schedule_worker_job_tracker.
def test_the_flags_are_read_once_so_a_flip_in_mid_run_changes_nothing(desk, make_mirror, tracker):
    turn(TRACKED)
    due_mirrors(make_mirror, 2)

    def flipped(limit, **when):
        turn(LEGACY)
        return ImportState.objects.claim_due(limit, **when)

    desk.run(due=flipped)

    assert counts(tracker) == (2, 0)
    assert desk.polls == []
