"""What people ask for: update now, pause, resume; in each state that a mirror can be in."""

from datetime import timedelta

import pytest

from mirroring.models import ImportState
from mirroring.rules.cadence import URGENT_HEAD_START
from mirroring.rules.states import AT_REST, IN_FLIGHT
from tests.making import LEASE, MINUTE, NOW, state_of

UNTIL = NOW + LEASE
TOMORROW = NOW + timedelta(days=1)


def rows(mirror):
    return ImportState.objects.filter(pk=mirror.pk)


@pytest.mark.parametrize("status", sorted(AT_REST))
def test_update_now_makes_a_mirror_at_rest_due_before_everything(make_mirror, status):
    mirror = make_mirror(status=status, next_execution_at=TOMORROW, retry_count=3)

    assert rows(mirror).ask_now(now=NOW) == 1

    row = state_of(mirror)
    assert (row.urgent, row.next_execution_at, row.import_due_at) == (True, NOW, NOW - URGENT_HEAD_START)
    assert row.retry_count == 3


def test_of_two_that_were_asked_for_the_first_goes_first(make_mirror):
    second, first = make_mirror(next_execution_at=TOMORROW), make_mirror(next_execution_at=TOMORROW)
    rows(first).ask_now(now=NOW)
    rows(second).ask_now(now=NOW + MINUTE)

    claims = ImportState.objects.claim_due(1, now=NOW + 2 * MINUTE, until=UNTIL + 2 * MINUTE)

    assert [claim.mirror_id for claim in claims] == [first.pk]


def test_asking_again_does_not_cost_the_place_in_the_line(make_mirror):
    first, second = make_mirror(next_execution_at=TOMORROW), make_mirror(next_execution_at=TOMORROW)
    rows(first).ask_now(now=NOW)
    rows(second).ask_now(now=NOW + MINUTE)
    rows(first).ask_now(now=NOW + 2 * MINUTE)

    claims = ImportState.objects.claim_due(1, now=NOW + 3 * MINUTE, until=UNTIL + 3 * MINUTE)

    assert [claim.mirror_id for claim in claims] == [first.pk]


@pytest.mark.parametrize("status", [*sorted(IN_FLIGHT), "finished"])
def test_update_now_of_a_claimed_mirror_takes_nothing_from_who_holds_it(make_mirror, status):
    mirror = make_mirror(status=status, epoch=2, claim_expires_at=UNTIL, next_execution_at=TOMORROW)

    assert rows(mirror).ask_now(now=NOW) == 1

    row = state_of(mirror)
    assert (row.urgent, row.import_due_at, row.next_execution_at) == (True, None, TOMORROW)
    assert (row.status, row.epoch, row.claim_expires_at) == (status, 2, UNTIL)


def test_update_now_forgives_a_hard_failure(make_mirror):
    mirror = make_mirror(status="failed", hard_failed=True, retry_count=15)

    rows(mirror).ask_now(now=NOW)

    row = state_of(mirror)
    assert (row.hard_failed, row.retry_count) == (False, 0)
    assert row.import_due_at is not None


def test_update_now_of_a_paused_mirror_does_nothing(make_mirror):
    mirror = make_mirror(active=False)

    assert rows(mirror).ask_now(now=NOW) == 0
    assert (state_of(mirror).urgent, state_of(mirror).import_due_at) == (False, None)


@pytest.mark.parametrize("status", sorted(AT_REST))
def test_a_paused_mirror_is_not_due_and_a_resumed_one_is_due_when_it_would_have_been(make_mirror, status):
    mirror = make_mirror(status=status, next_execution_at=TOMORROW)

    assert rows(mirror).deactivate() == 1
    assert (state_of(mirror).active, state_of(mirror).import_due_at) == (False, None)

    assert rows(mirror).activate(now=NOW) == 1
    assert (state_of(mirror).active, state_of(mirror).import_due_at) == (True, TOMORROW)


def test_pausing_twice_and_resuming_twice_changes_nothing_more(make_mirror):
    mirror = make_mirror(next_execution_at=TOMORROW)
    rows(mirror).deactivate()
    rows(mirror).deactivate()

    assert [rows(mirror).activate(now=NOW) for _ in range(2)] == [1, 0]
    assert state_of(mirror).import_due_at == TOMORROW


def test_what_was_asked_for_before_a_pause_is_urgent_after_it(make_mirror):
    mirror = make_mirror(next_execution_at=TOMORROW)
    rows(mirror).ask_now(now=NOW)
    rows(mirror).deactivate()

    rows(mirror).activate(now=NOW)

    assert state_of(mirror).import_due_at == NOW - URGENT_HEAD_START


@pytest.mark.parametrize("status", [*sorted(IN_FLIGHT), "none"])
def test_a_claimed_mirror_that_is_paused_and_resumed_stays_with_who_holds_it(make_mirror, status):
    mirror = make_mirror(status=status, claim_expires_at=UNTIL)

    rows(mirror).deactivate()
    assert (state_of(mirror).claim_expires_at, state_of(mirror).status) == (UNTIL, status)

    rows(mirror).activate(now=NOW)
    assert (state_of(mirror).import_due_at, state_of(mirror).claim_expires_at) == (None, UNTIL)


def test_a_hard_failed_mirror_that_is_paused_and_resumed_still_waits_for_a_person(make_mirror):
    mirror = make_mirror(hard_failed=True)
    rows(mirror).deactivate()

    rows(mirror).activate(now=NOW)

    assert (state_of(mirror).active, state_of(mirror).import_due_at) == (True, None)


def test_only_an_import_in_flight_can_be_called_off_and_its_rest_forgets_it(make_mirror):
    flying = make_mirror(status="started", epoch=1, claim_expires_at=UNTIL)
    resting = make_mirror()

    assert [rows(mirror).ask_cancel() for mirror in (flying, resting)] == [1, 0]
    assert [state_of(mirror).cancel_requested for mirror in (flying, resting)] == [True, False]

    rows(flying).settle("canceled", now=NOW, outcome="canceled", next_execution_at=TOMORROW)
    assert not state_of(flying).cancel_requested
