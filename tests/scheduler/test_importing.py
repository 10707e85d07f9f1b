"""update_mirror: real imports of a real upstream, and how they end in the row, the attempt and the tracker."""

from datetime import timedelta

import pytest
from django.db import connection

from mirroring import catalog
from mirroring.models import Claim, ImportAttempt, ImportState
from mirroring.rules.outcomes import Outcome
from tests.catalog.samples import nobody
from tests.lab import repositories
from tests.making import LEASE, MINUTE, NOW, heads_and_tags, refs_of, state_of
from tests.scheduler.desk import counts
from tests.scheduler.workshop import attempt_of, expire


def test_an_import_ends_finished_with_the_refs_on_disk_and_its_slot_free(works, tracker):
    mirror = works.mirror(retry_count=3, lost_count=1)
    claim = works.scheduled(mirror)

    assert works.run(claim) is Outcome.CHANGED

    row, now = state_of(mirror), tracker.now()
    assert refs_of(mirror.repository) == heads_and_tags(works.upstream.path)
    assert (row.status, row.last_outcome, row.last_error) == ("finished", "changed", "")
    assert (row.retry_count, row.lost_count, row.hard_failed) == (0, 0, False)
    assert row.last_update_at == row.last_changed_at
    assert row.last_update_started_at == row.last_successful_update_at == row.last_checked_at
    assert now - MINUTE < row.last_update_started_at < row.last_update_at <= now
    assert timedelta(minutes=30) <= row.next_execution_at - row.last_update_at <= timedelta(minutes=31)
    assert row.import_due_at == row.next_execution_at
    assert (row.claimed_at, row.claim_expires_at) == (None, None)
    assert counts(tracker) == (0, 0)


def test_an_import_is_in_the_history(works):
    mirror, other = works.mirror(epoch=4), works.mirror()
    for of, epoch in ((mirror, 4), (other, 5)):
        ImportAttempt.objects.create(mirror=of, epoch=epoch, worker="other", started_at=NOW)
    claim = works.scheduled(mirror)

    works.run(claim)

    assert ImportAttempt.objects.filter(worker="other", ended_at=None).count() == 2
    attempt = attempt_of(claim)
    assert (attempt.worker, attempt.outcome, attempt.error) == ("worker", "changed", "")
    assert attempt.refs_changed == works.upstream.heads + works.upstream.tags
    assert attempt.started_at <= attempt.ended_at


def test_an_import_that_found_nothing_new_is_a_success_but_no_change(works):
    mirror = works.mirror()
    works.run(works.scheduled(mirror))
    changed_at = state_of(mirror).last_changed_at
    ImportState.objects.filter(pk=mirror.pk).ask_now(now=works.tracker.now())

    assert works.run(works.scheduled(mirror)) is Outcome.UNCHANGED

    row = state_of(mirror)
    assert (row.status, row.last_outcome, row.last_changed_at) == ("finished", "unchanged", changed_at)
    assert row.last_successful_update_at > changed_at


def test_an_import_that_fails_waits_longer_and_says_why(works, tracker):
    mirror = works.mirror(retry_count=2)
    works.server.behave(works.upstream.name, "status:500")
    claim = works.scheduled(mirror)

    assert works.run(claim) is Outcome.TRANSIENT

    row = state_of(mirror)
    assert (row.status, row.last_outcome, row.retry_count) == ("failed", "transient", 3)
    assert "error: 500" in row.last_error
    assert timedelta(minutes=90) <= row.next_execution_at - row.last_update_at <= timedelta(minutes=93)
    assert row.last_successful_update_at < row.last_update_at
    assert (attempt_of(claim).outcome, attempt_of(claim).error) == ("transient", row.last_error)
    assert counts(tracker) == (0, 0)


@pytest.mark.parametrize(("failures", "hard"), [(13, False), (14, True)])
def test_after_the_fifteenth_failure_in_a_row_a_mirror_waits_for_a_person(works, failures, hard):
    mirror = works.mirror(retry_count=failures)
    works.server.behave(works.upstream.name, "gone")

    works.run(works.scheduled(mirror))

    row = state_of(mirror)
    assert (row.retry_count, row.hard_failed) == (failures + 1, hard)
    assert (row.import_due_at is None) == hard


def test_an_import_that_was_asked_for_while_it_ran_runs_again_also_if_it_failed_for_good(works):
    mirror = works.mirror(retry_count=14)
    works.server.behave(works.upstream.name, "gone")
    claim = works.scheduled(mirror)
    now = works.tracker.now()
    ImportState.objects.start(claim, now=now, until=now + LEASE)
    ImportState.objects.filter(pk=mirror.pk).ask_now(now=now)

    rows = ImportState.objects.held(claim, now=now)
    rows.settle("failed", now=now, outcome=Outcome.GONE, next_execution_at=now + LEASE, hard_failed=True)

    row = state_of(mirror)
    assert (row.hard_failed, row.urgent) == (False, True)
    assert row.import_due_at < now


def test_a_git_that_cannot_be_run_is_our_own_trouble(works, settings):
    settings.GIT = "/nonexistent/git"
    mirror = works.mirror(retry_count=2)

    assert works.run(works.scheduled(mirror)) is Outcome.RESOURCE

    assert state_of(mirror).retry_count == 2
    assert state_of(mirror).import_due_at > works.tracker.now()


def test_a_storage_that_fails_is_a_failure_and_not_a_riddle(works, settings, tmp_path):
    settings.REPOSITORIES_DIR = tmp_path / "file"
    settings.REPOSITORIES_DIR.touch()
    mirror = works.mirror()

    assert works.run(works.scheduled(mirror)) is Outcome.RESOURCE

    assert "storage" in state_of(mirror).last_error
    assert state_of(mirror).status == "failed"


def test_a_fault_of_our_own_goes_up_and_leaves_the_row_to_repair(works, tracker):
    mirror = works.mirror(mirror={"ref_selection": "patterns", "ref_patterns": 5})
    claim = works.scheduled(mirror)

    with pytest.raises(TypeError):
        works.run(claim)

    assert works.in_flight.claims() == []
    row = state_of(mirror)
    assert (row.status, row.retry_count) == ("started", 0)
    assert row.claim_expires_at <= tracker.now() + LEASE
    assert attempt_of(claim).ended_at is None


@pytest.mark.parametrize(("by_event", "wakes"), [(True, [True]), (False, [])])
def test_the_end_of_an_import_wakes_the_scheduler_where_it_refills_by_event(works, tracker, by_event, wakes):
    tracker.refill(by_event=by_event)

    works.run(works.scheduled(works.mirror()))

    assert works.woken == wakes


# -- who may not run --------------------------------------------------------------------------------------------------


def test_without_a_slot_nothing_runs_and_the_mirror_is_due_again_without_blame(works, tracker, redis_client):
    mirror = works.mirror(retry_count=2)
    claim = works.scheduled(mirror)
    redis_client.zadd("{mirroring}:importing", {claim.token: 1})

    assert works.run(claim) is Outcome.NO_SLOT

    row = state_of(mirror)
    assert works.asked() == 0
    assert tracker.leases("importing") == []
    assert (row.status, row.last_outcome, row.retry_count) == ("failed", "no_slot", 2)
    assert row.import_due_at <= tracker.now()
    assert not ImportAttempt.objects.exists()


def test_before_the_tracker_is_rebuilt_nothing_runs(works, redis_client):
    mirror = works.mirror()
    claim = works.scheduled(mirror)
    redis_client.delete("{mirroring}:ready")

    works.run(claim)

    assert works.asked() == 0
    assert state_of(mirror).import_due_at is not None


def test_a_message_that_comes_again_after_the_end_does_nothing(works, tracker):
    mirror = works.mirror()
    claim = works.scheduled(mirror)
    works.run(claim)
    before, asked = state_of(mirror), works.asked()

    assert works.run(claim) in {None, Outcome.NO_SLOT}

    after = state_of(mirror)
    assert works.asked() == asked
    assert (after.status, after.epoch, after.next_execution_at) == (
        before.status,
        before.epoch,
        before.next_execution_at,
    )
    assert ImportAttempt.objects.count() == 1
    assert counts(tracker) == (0, 0)


def test_a_message_that_comes_again_while_the_import_runs_takes_nothing_from_it(works, tracker):
    mirror = works.mirror()
    claim = works.scheduled(mirror)
    now = tracker.now()
    ImportState.objects.start(claim, now=now, until=now + LEASE)

    assert works.run(claim) is None

    assert works.asked() == 0
    assert state_of(mirror).status == "started"
    assert counts(tracker) == (0, 1)
    assert tracker.counters()["stale_messages"] == 1


@pytest.mark.parametrize("trouble", ["its slot is gone", "all is held back", "it is called off"])
def test_a_duplicate_never_ends_an_import_that_runs(works, tracker, configure, trouble):
    mirror = works.mirror()
    claim = works.scheduled(mirror)
    now = tracker.now()
    ImportState.objects.start(claim, now=now, until=now + LEASE)
    if trouble == "its slot is gone":
        tracker.forget(claim.token)
    elif trouble == "all is held back":
        configure(silent_mode=True)
    else:
        ImportState.objects.filter(pk=mirror.pk).ask_cancel()

    works.run(claim)

    assert (state_of(mirror).status, works.asked()) == ("started", 0)
    assert counts(tracker) == (0, int(trouble != "its slot is gone"))


def test_a_message_that_overtakes_its_own_door_makes_the_mirror_due_again(works, tracker):
    mirror = works.mirror()
    now = tracker.now()
    [claim] = ImportState.objects.claim_due(1, now=now, until=now + LEASE)
    tracker.door(claim.token, capacity=9, lease=LEASE)

    assert works.run(claim) is None

    assert state_of(mirror).import_due_at is not None
    assert counts(tracker) == (0, 0)


def test_a_message_of_an_older_epoch_does_nothing(works, tracker):
    mirror = works.mirror()
    claim = works.scheduled(mirror)
    old = Claim(mirror.pk, claim.epoch - 1)
    tracker.door(old.token, capacity=9, lease=LEASE)

    works.run(old)

    assert works.asked() == 0
    assert state_of(mirror).status == "scheduled"
    assert [lease.token for lease in tracker.leases("importing")] == [claim.token]


@pytest.mark.parametrize("how", ["deactivate", "ask_cancel"])
def test_a_mirror_that_was_called_off_in_the_queue_does_not_start_and_frees_its_slot(works, tracker, how):
    mirror = works.mirror()
    claim = works.scheduled(mirror)
    getattr(ImportState.objects.filter(pk=mirror.pk), how)()

    works.run(claim)

    row = state_of(mirror)
    assert works.asked() == 0
    assert (row.status, row.claim_expires_at) == ("canceled", None)
    assert (row.import_due_at is None) == (how == "deactivate")
    assert counts(tracker) == (0, 0)


@pytest.mark.parametrize("mode", ["paused_all", "silent_mode"])
def test_when_all_is_held_back_a_scheduled_mirror_does_not_start_and_is_due(works, tracker, configure, mode):
    mirror = works.mirror(retry_count=1)
    claim = works.scheduled(mirror)
    configure(**{mode: True})

    works.run(claim)

    row = state_of(mirror)
    assert works.asked() == 0
    assert (row.status, row.last_outcome, row.retry_count) == ("canceled", "interrupted", 1)
    assert row.import_due_at <= tracker.now()
    assert counts(tracker) == (0, 0)


# -- imports that are stopped -----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_mirror_that_is_paused_while_it_runs_is_stopped_at_the_next_beat(works, tracker):
    mirror = works.mirror(retry_count=2)
    running = works.running(works.scheduled(mirror))
    ImportState.objects.filter(pk=mirror.pk).deactivate()

    works.heart().beat()

    assert running.join() is Outcome.CANCELED
    row = state_of(mirror)
    assert (row.status, row.last_outcome, row.retry_count) == ("canceled", "canceled", 2)
    assert "paused or removed" in row.last_error
    assert (row.import_due_at, row.claim_expires_at) == (None, None)
    assert counts(tracker) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_an_import_that_is_canceled_is_stopped_and_due_as_after_any_import(works):
    mirror = works.mirror()
    running = works.running(works.scheduled(mirror))
    ImportState.objects.filter(pk=mirror.pk).ask_cancel()

    works.heart().beat()

    assert running.join() is Outcome.CANCELED
    row = state_of(mirror)
    assert (row.status, row.cancel_requested) == ("canceled", False)
    assert row.import_due_at - row.last_update_at >= timedelta(minutes=30)


@pytest.mark.django_db(transaction=True)
def test_silent_mode_stops_what_runs_and_it_is_due_again(works, configure):
    mirror = works.mirror()
    running = works.running(works.scheduled(mirror))
    configure(silent_mode=True)

    works.heart().beat()

    assert running.join() is Outcome.INTERRUPTED
    assert state_of(mirror).import_due_at == state_of(mirror).last_update_at


@pytest.mark.django_db(transaction=True)
def test_an_import_that_lost_its_slot_is_stopped_and_due_again_without_blame(works, tracker):
    mirror = works.mirror(retry_count=2)
    running = works.running(works.scheduled(mirror))
    tracker.forget(running.claim.token)

    works.heart().beat()

    assert running.join() is Outcome.LOST
    row = state_of(mirror)
    assert (row.status, row.retry_count) == ("canceled", 2)
    assert row.import_due_at <= tracker.now()


@pytest.mark.django_db(transaction=True)
def test_an_import_that_took_long_is_asked_for_less_often(works, tracker):
    mirror = works.mirror()
    running = works.running(works.scheduled(mirror), behaviour="slow:0.5")
    ImportState.objects.filter(pk=mirror.pk).update(last_update_started_at=tracker.now() - 5 * MINUTE)

    running.join()

    row = state_of(mirror)
    assert timedelta(minutes=120) <= row.next_execution_at - row.last_update_at <= timedelta(minutes=160)


@pytest.mark.django_db(transaction=True)
def test_an_import_whose_claim_ran_out_writes_neither_refs_nor_row(works, tracker):
    mirror = works.mirror()
    claim = works.scheduled(mirror)
    running = works.running(claim, behaviour="slow:0.7")
    ImportState.objects.filter(pk=mirror.pk).update(epoch=claim.epoch + 1)

    running.join()

    row = state_of(mirror)
    assert (row.status, row.epoch, row.last_outcome) == ("started", claim.epoch + 1, "")
    assert refs_of(mirror.repository) == {}
    assert attempt_of(claim).outcome == "fenced"
    assert counts(tracker) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_an_import_that_was_given_up_by_repair_says_nothing_more(works, tracker):
    mirror = works.mirror()
    claim = works.scheduled(mirror)
    running = works.running(claim, behaviour="slow:0.7")
    expire(mirror)
    ImportAttempt.objects.update(ended_at=NOW, outcome="lost")

    assert running.join() is Outcome.FENCED

    assert state_of(mirror).status == "started"
    assert attempt_of(claim).outcome == "lost"
    assert refs_of(mirror.repository) == {}


@pytest.mark.django_db(transaction=True)
def test_an_import_that_ends_after_its_claim_ran_out_leaves_its_slot_to_repair(works, tracker):
    """Both would stand again if the server's clock jumped back, and a row in flight has a slot."""
    mirror = works.mirror()
    running = works.running(works.scheduled(mirror), behaviour="slow:0.7")
    expire(mirror)

    assert running.join() is Outcome.FENCED

    assert state_of(mirror).status == "started"
    assert counts(tracker) == (0, 1)


@pytest.mark.django_db(transaction=True)
def test_the_heartbeat_keeps_slot_and_claim_of_a_long_import(works, tracker, configure):
    mirror = works.mirror()
    running = works.running(works.scheduled(mirror))
    configure(lease_seconds=300)

    works.heart().beat()

    [lease] = tracker.leases("importing")
    in_a_while = tracker.now() + timedelta(seconds=200)
    assert lease.deadline > in_a_while
    assert state_of(mirror).claim_expires_at > in_a_while
    ImportState.objects.filter(pk=mirror.pk).ask_cancel()
    works.heart().beat()
    running.join()


def test_a_push_between_two_imports_is_seen_by_the_second(works):
    mirror = works.mirror()
    works.run(works.scheduled(mirror))
    push = repositories.push_commits(works.upstream, seed=1)
    ImportState.objects.filter(pk=mirror.pk).ask_now(now=works.tracker.now())

    assert works.run(works.scheduled(mirror)) is Outcome.CHANGED
    assert refs_of(mirror.repository)[push.ref] == push.target


def test_a_mirror_that_keeps_its_branches_waits_for_a_person_who_lets_it_follow(works):
    mirror = works.mirror()
    catalog.edit(mirror, now=works.tracker.now(), wake=nobody, on_divergence="keep")
    works.run(works.scheduled(mirror))
    before = refs_of(mirror.repository)
    repositories.push_commits(works.upstream, seed=1, kind="force")
    catalog.sync(mirror, now=works.tracker.now(), wake=nobody)

    assert works.run(works.scheduled(mirror)) is Outcome.DIVERGED

    assert refs_of(mirror.repository) == before
    assert "rewrote its branches" in state_of(mirror).last_error
    assert state_of(mirror).import_due_at > works.tracker.now()
    catalog.edit(mirror, now=works.tracker.now(), wake=nobody, on_divergence="overwrite")
    assert works.run(works.scheduled(mirror)) is Outcome.CHANGED
    assert refs_of(mirror.repository) == heads_and_tags(works.upstream.path)


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_drops_while_git_runs_loses_nothing(works):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connection that could drop")
    mirror = works.mirror()
    running = works.running(works.scheduled(mirror), behaviour="slow:1")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchall()

    assert running.join() is Outcome.CHANGED
    assert refs_of(mirror.repository) == heads_and_tags(works.upstream.path)
