from datetime import timedelta

import pytest

from mirroring import catalog
from mirroring.catalog.errors import NotNow
from mirroring.models import ImportState, Mirror
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import Status
from tests.catalog.samples import LATER, NOW, due_now, hard_failed, imported, in_flight, made, nobody, state

pytestmark = pytest.mark.django_db
TOMORROW = NOW + timedelta(days=1)


@pytest.fixture
def woken(django_capture_on_commit_callbacks):
    """Run an act, and return whether it woke the scheduler after its commit."""

    def run(act, mirror) -> bool:
        calls: list[str] = []
        with django_capture_on_commit_callbacks(execute=True):
            act(mirror, now=LATER, wake=lambda: calls.append("now"))
        return calls == ["now"]

    return run


def test_a_paused_mirror_is_not_due_and_says_why():
    mirror = catalog.pause(made(), now=NOW, reason="too big")

    assert (mirror.paused_at, mirror.pause_reason) == (NOW, "too big")
    assert (mirror.state.active, mirror.state.import_due_at) == (False, None)


def test_an_import_in_flight_does_not_make_a_paused_mirror_due_when_it_ends():
    mirror = made()
    claim = in_flight(mirror)

    catalog.pause(mirror, now=NOW)

    rows = ImportState.objects.held(claim, now=NOW)
    assert rows.settle(Status.CANCELED, now=NOW, outcome=Outcome.CANCELED, next_execution_at=LATER)
    assert state(mirror).import_due_at is None


def test_a_resumed_mirror_is_imported_now(woken):
    mirror = catalog.pause(imported(made(), next_at=TOMORROW), now=NOW, reason="too big")

    assert woken(catalog.resume, mirror)

    assert due_now(mirror)
    kept = Mirror.objects.get(pk=mirror.pk)
    assert (kept.paused_at, kept.pause_reason) == (None, "")


def test_resuming_forgives_a_hard_failure():
    mirror = catalog.resume(catalog.pause(hard_failed(made()), now=NOW), now=NOW, wake=nobody)

    assert (mirror.state.hard_failed, mirror.state.retry_count) == (False, 0)
    assert due_now(mirror)


def test_an_update_is_had_before_every_backlog(woken):
    mirror = imported(made(), next_at=TOMORROW)

    assert woken(catalog.sync, mirror)

    assert due_now(mirror)
    assert state(mirror).next_execution_at == LATER


def test_an_update_asked_for_during_an_import_runs_after_it(woken):
    mirror = made()
    claim = in_flight(mirror)

    assert woken(catalog.sync, mirror)

    assert state(mirror).import_due_at is None
    rows = ImportState.objects.held(claim, now=LATER - timedelta(seconds=1))
    assert rows.settle(Status.FINISHED, now=LATER, outcome=Outcome.CHANGED, next_execution_at=TOMORROW)
    assert due_now(mirror)


def test_a_retry_forgives_a_hard_failure_and_imports_now(woken):
    mirror = hard_failed(made())
    assert state(mirror).import_due_at is None

    assert woken(catalog.retry, mirror)

    assert due_now(mirror)
    assert (state(mirror).hard_failed, state(mirror).retry_count) == (False, 0)


def test_an_import_in_flight_is_canceled_and_only_that():
    mirror = made()
    with pytest.raises(NotNow, match="no import in flight"):
        catalog.cancel(mirror)
    in_flight(mirror)

    assert catalog.cancel(mirror).state.cancel_requested


@pytest.mark.parametrize("act", [catalog.sync, catalog.retry])
def test_a_paused_mirror_is_not_imported_and_the_reason_is_said(act):
    mirror = catalog.pause(hard_failed(made()), now=NOW, reason="too big")

    with pytest.raises(NotNow, match=r"default/project is paused \(too big\): resume it first"):
        act(mirror, now=NOW, wake=nobody)

    assert state(mirror).hard_failed


def test_a_mirror_that_did_not_fail_for_good_is_not_retried():
    mirror = imported(made(), next_at=TOMORROW)

    with pytest.raises(NotNow, match="has not failed for good"):
        catalog.retry(mirror, now=NOW, wake=nobody)

    assert not due_now(mirror)


def test_pausing_and_resuming_twice_is_refused_and_changes_nothing():
    mirror = catalog.pause(made(), now=NOW, reason="first")
    with pytest.raises(NotNow, match="is paused"):
        catalog.pause(mirror, now=LATER, reason="second")
    assert Mirror.objects.get(pk=mirror.pk).pause_reason == "first"

    catalog.resume(mirror, now=NOW, wake=nobody)
    with pytest.raises(NotNow, match="is not paused"):
        catalog.resume(mirror, now=NOW, wake=nobody)


@pytest.mark.parametrize("name", ["pause", "resume", "sync", "retry"])
def test_nothing_is_done_to_a_removed_mirror_but_to_restore_it(name):
    mirror = catalog.remove(made(), now=NOW)
    wake = {} if name == "pause" else {"wake": nobody}

    with pytest.raises(NotNow, match="was removed: restore it first"):
        getattr(catalog, name)(mirror, now=NOW, **wake)


def test_a_mirror_that_was_purged_meanwhile_is_gone_for_good():
    mirror = made()
    Mirror.objects.all().delete()

    with pytest.raises(NotNow, match="gone for good"):
        catalog.sync(mirror, now=NOW, wake=nobody)
