"""Why a mirror is not running: one answer for each state it can be in, and each names a start or an act."""

from datetime import timedelta

import pytest
import redis

from mirroring.models import Host, ImportAttempt, ImportState, Mirror
from mirroring.scheduler.explain import Verdict, explain
from mirroring.tracker.job_tracker import JobTracker
from tests.making import LEASE, MINUTE, NOW, announce
from tests.scheduler.workshop import LONG_AGO

FAR = timedelta(days=9999)


@pytest.fixture
def why(tracker):
    """Return a function that explains a mirror as it is now."""

    def ask(mirror, tracker=tracker, now=None):
        mirror = Mirror.objects.select_related("group", "state").get(pk=mirror.pk)
        return explain(mirror, tracker=tracker, now=now or tracker.now())

    return ask


def test_a_removed_mirror_is_removed_whatever_else_it_is(make_mirror, why):
    mirror = make_mirror(active=False, hard_failed=True, mirror={"deleted_at": LONG_AGO})

    found = why(mirror)

    assert found.verdict is Verdict.REMOVED
    assert "mirror restore default/" in found.act


def test_a_paused_mirror_says_for_what_reason(make_mirror, why):
    found = why(make_mirror(active=False, mirror={"pause_reason": "the vendor moves"}))

    assert found.verdict is Verdict.PAUSED
    assert "the vendor moves" in found.reason
    assert "mirror resume" in found.act


def test_a_hard_failed_mirror_says_how_often_and_with_what(make_mirror, why):
    found = why(make_mirror(hard_failed=True, retry_count=15, last_error="repository not found"))

    assert found.verdict is Verdict.HARD_FAILED
    assert "15 times" in found.reason
    assert "repository not found" in found.reason
    assert "mirror retry" in found.act


def test_a_running_import_says_since_when_and_where(make_mirror, why, tracker):
    now = tracker.now()
    mirror = make_mirror(
        status="started", epoch=2, claim_expires_at=now + LEASE, last_update_started_at=now - MINUTE
    )
    ImportAttempt.objects.create(mirror=mirror, epoch=2, worker="host:7", started_at=now - MINUTE)

    found = why(mirror)

    assert (found.verdict, found.starts_at) == (Verdict.RUNNING, now - MINUTE)
    assert "host:7" in found.reason


@pytest.mark.parametrize(("status", "verdict"), [("scheduled", Verdict.SCHEDULED), ("none", Verdict.QUEUED)])
def test_a_claimed_mirror_says_how_far_it_has_got(make_mirror, why, tracker, status, verdict):
    found = why(make_mirror(status=status, claim_expires_at=tracker.now() + LEASE))

    assert found.verdict is verdict
    assert found.starts_at is not None


@pytest.mark.parametrize("status", ["none", "scheduled", "started"])
def test_a_claim_that_ran_out_is_about_to_be_repaired(make_mirror, why, tracker, status):
    found = why(make_mirror(status=status, claim_expires_at=tracker.now() - MINUTE))

    assert found.verdict is Verdict.RECOVERING


@pytest.mark.parametrize("mode", ["paused_all", "silent_mode"])
def test_a_mode_that_holds_all_back_is_named_with_its_remedy(make_mirror, why, configure, mode):
    configure(**{mode: True})

    found = why(make_mirror())

    assert found.verdict is Verdict.HELD_BACK
    assert mode in found.reason
    assert f"settings set {mode} false" in found.act


def test_without_capacity_or_workers_that_is_the_reason(make_mirror, why, configure, tracker):
    mirror = make_mirror()
    announce(tracker, slots=0)
    assert "No worker" in why(mirror).reason
    configure(mirror_max_capacity=0)
    assert "capacity is set to 0" in why(mirror).reason


def test_without_redis_that_is_the_reason(make_mirror, why, tracker, tmp_path):
    away = JobTracker(redis.Redis.from_url(f"unix://{tmp_path}/nothing.sock", decode_responses=True))

    found = why(make_mirror(), tracker=away, now=tracker.now())

    assert found.verdict is Verdict.HELD_BACK
    assert "Redis" in found.reason


def test_a_mirror_that_rests_says_when_it_is_due(make_mirror, why, tracker):
    later = tracker.now() + timedelta(hours=1)

    found = why(make_mirror(status="finished", next_execution_at=later))

    assert found.verdict is Verdict.RESTING
    assert found.starts_at >= later


def test_a_mirror_that_waits_says_how_many_stand_before_it_and_who_holds_the_slots(
    make_mirror, why, tracker, configure
):
    configure(mirror_max_capacity=2, tick_seconds=60)
    now = tracker.now()
    for minutes in (9, 8, 7):
        make_mirror(next_execution_at=now - minutes * MINUTE)
    mirror = make_mirror(next_execution_at=now - 5 * MINUTE)
    make_mirror(next_execution_at=now - MINUTE)
    tracker.door("901:1", capacity=2, lease=LEASE)

    found = why(mirror)

    assert found.verdict is Verdict.WAITING
    assert "3 stand before it; 1 of 2 slots" in found.reason
    assert found.holders == ("901:1",)
    assert found.starts_at > now


def test_the_wait_is_estimated_by_what_imports_took(make_mirror, why, tracker, configure):
    configure(mirror_max_capacity=1, tick_seconds=1)
    now = tracker.now()
    make_mirror(next_execution_at=now - 9 * MINUTE)
    mirror = make_mirror(next_execution_at=now - 5 * MINUTE)
    for epoch in (1, 2):
        ImportAttempt.objects.create(
            mirror=mirror, epoch=epoch, worker="w", started_at=now - FAR, ended_at=now - FAR + 10 * MINUTE
        )

    expected = why(mirror).starts_at - now

    assert timedelta(minutes=9) < expected < timedelta(minutes=11)


def test_one_that_was_asked_for_stands_before_all(make_mirror, why, tracker):
    now = tracker.now()
    make_mirror(next_execution_at=now - timedelta(days=30))
    mirror = make_mirror(next_execution_at=now + MINUTE)
    ImportState.objects.filter(pk=mirror.pk).ask_now(now=now)

    assert "0 stand before it" in why(mirror).reason


# -- hosts ------------------------------------------------------------------------------------------------------------


def set_host(mirror, **values):
    Host.objects.filter(pk=mirror.host_id).update(**values)


def test_a_mirror_whose_host_is_left_alone_names_it_the_reason_and_the_next_start(make_mirror, why, tracker):
    mirror = make_mirror()
    until = tracker.now() + timedelta(seconds=40)
    set_host(mirror, cooling_until=until, cooling_reason="returned error: 503")

    found = why(mirror)

    assert found.verdict is Verdict.WAITING
    assert "git.example.org: cooling for 40 s, because returned error: 503" in found.reason
    assert until < found.starts_at < until + timedelta(minutes=5)


def test_a_mirror_whose_host_is_full_names_it_and_how_many_stand_before(make_mirror, why, tracker):
    now = tracker.now()
    mirror = make_mirror()
    make_mirror(next_execution_at=NOW - timedelta(days=300))
    make_mirror(status="started", claim_expires_at=now + LEASE)
    set_host(mirror, slots=1)

    found = why(mirror)

    assert "git.example.org: 1 slot, 1 in use" in found.reason
    assert " 1 of its host stand before it" in found.reason
    assert found.starts_at > now


def test_a_host_that_a_person_closed_says_what_opens_it(make_mirror, why):
    mirror = make_mirror()
    set_host(mirror, max_slots=0)

    found = why(mirror)

    assert found.verdict is Verdict.HELD_BACK
    assert "host set git.example.org --max-slots none" in found.act


@pytest.mark.parametrize(
    ("outcome", "verdict", "cure"),
    [("auth", Verdict.NEEDS_CREDENTIAL, "credential"), ("gone", Verdict.ARCHIVED, "mirror edit")],
)
def test_a_mirror_that_was_given_up_says_as_what_it_waits_and_what_can_be_done(
    make_mirror, why, outcome, verdict, cure
):
    found = why(make_mirror(hard_failed=True, retry_count=2, last_outcome=outcome, last_error="refused"))

    assert found.verdict is verdict
    assert cure in found.act
    assert "mirror retry" in found.act


def test_a_failed_mirror_that_rests_says_with_what_and_what_can_be_done(make_mirror, why, tracker):
    later = tracker.now() + timedelta(hours=2)
    mirror = make_mirror(
        status="failed", last_outcome="gone", last_error="not found", retry_count=2, next_execution_at=later
    )

    found = why(mirror)

    assert found.verdict is Verdict.RESTING
    assert "(gone, 2 in a row): not found" in found.reason
    assert "mirror edit" in found.reason
