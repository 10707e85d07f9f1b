from datetime import timedelta

import pytest

from mirroring.models import Claim, ImportState
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import AT_REST, IN_FLIGHT, MAY_FOLLOW, Status
from tests.making import LEASE, MINUTE, NOW, state_of

UNTIL = NOW + LEASE
LATER = NOW + 30 * MINUTE


def held(make_mirror, **state):
    return make_mirror(**{"epoch": 3, "claim_expires_at": UNTIL, **state})


def schedule(mirror, *, epoch=3, now=NOW):
    return ImportState.objects.schedule(Claim(mirror.pk, epoch), now=now, until=now + 2 * LEASE)


def start(mirror, *, epoch=3, now=NOW):
    return ImportState.objects.start(Claim(mirror.pk, epoch), now=now, until=now + 2 * LEASE)


def settle(mirror, to, *, outcome=Outcome.CHANGED, now=NOW, rows=None, **changes):
    rows = ImportState.objects.held(Claim(mirror.pk, 3), now=now) if rows is None else rows
    return rows.settle(to, now=now, outcome=outcome, next_execution_at=LATER, **changes)


@pytest.mark.parametrize("status", sorted(AT_REST))
def test_a_claimed_mirror_at_rest_is_scheduled(make_mirror, status):
    mirror = held(make_mirror, status=status)

    assert schedule(mirror)

    row = state_of(mirror)
    assert (row.status, row.last_update_scheduled_at) == ("scheduled", NOW)
    assert row.claim_expires_at == NOW + 2 * LEASE


def test_a_scheduled_mirror_is_started_and_what_a_person_asked_for_is_then_under_way(make_mirror):
    mirror = held(make_mirror, status="scheduled", urgent=True)

    assert start(mirror)

    row = state_of(mirror)
    assert (row.status, row.last_update_started_at, row.urgent) == ("started", NOW, False)
    assert row.claim_expires_at == NOW + 2 * LEASE


@pytest.mark.parametrize(("move", "status"), [(schedule, "none"), (start, "scheduled")])
@pytest.mark.parametrize(
    "state",
    [{"claim_expires_at": NOW}, {"epoch": 4}, {"epoch": 2}, {"active": False}, {"cancel_requested": True}],
    ids=["expired", "newer epoch", "older epoch", "paused", "called off"],
)
def test_nobody_moves_a_mirror_whose_claim_is_not_theirs(make_mirror, move, status, state):
    mirror = held(make_mirror, status=status, **state)

    assert not move(mirror)
    assert state_of(mirror).status == status


@pytest.mark.parametrize(("move", "to"), [(schedule, "scheduled"), (start, "started")])
@pytest.mark.parametrize("status", list(Status))
def test_a_move_obeys_the_table_of_states(make_mirror, move, to, status):
    mirror = held(make_mirror, status=status)

    assert move(mirror) == (status in MAY_FOLLOW[Status(to)])


@pytest.mark.parametrize(("move", "status"), [(schedule, "none"), (start, "scheduled")])
def test_a_move_made_twice_is_made_once(make_mirror, move, status):
    mirror = held(make_mirror, status=status)

    assert [move(mirror), move(mirror)] == [True, False]


@pytest.mark.parametrize("to", ["finished", "failed", "canceled"])
@pytest.mark.parametrize("status", list(Status))
def test_only_a_mirror_in_flight_comes_to_rest(make_mirror, to, status):
    mirror = held(make_mirror, status=status)

    assert settle(mirror, Status(to)) == (status in MAY_FOLLOW[Status(to)])


def test_a_mirror_that_comes_to_rest_is_due_at_its_next_execution_and_no_longer_claimed(make_mirror):
    mirror = held(make_mirror, status="started", claimed_at=NOW)

    assert settle(mirror, Status.FINISHED, retry_count=0, last_successful_update_at=NOW)

    row = state_of(mirror)
    assert (row.status, row.last_outcome, row.last_update_at) == ("finished", "changed", NOW)
    assert (row.next_execution_at, row.import_due_at) == (LATER, LATER)
    assert (row.claim_expires_at, row.claimed_at) == (None, None)
    assert row.last_successful_update_at == NOW


def test_one_that_was_asked_for_meanwhile_is_due_at_once_and_before_the_backlog(make_mirror):
    waiting = make_mirror(next_execution_at=NOW - timedelta(days=300))
    mirror = held(make_mirror, status="started", urgent=True)

    settle(mirror, Status.FINISHED)

    assert state_of(mirror).next_execution_at == NOW
    claims = ImportState.objects.claim_due(2, now=NOW, until=UNTIL)
    assert [claim.mirror_id for claim in claims] == [mirror.pk, waiting.pk]


@pytest.mark.parametrize("urgent", [False, True])
def test_one_that_was_paused_meanwhile_is_not_due(make_mirror, urgent):
    mirror = held(make_mirror, status="started", active=False, urgent=urgent)

    assert settle(mirror, Status.CANCELED)
    assert state_of(mirror).import_due_at is None


def test_one_that_failed_for_good_is_not_due_and_says_so(make_mirror):
    mirror = held(make_mirror, status="started")

    settle(mirror, Status.FAILED, outcome=Outcome.GONE, hard_failed=True, retry_count=15)

    row = state_of(mirror)
    assert (row.hard_failed, row.import_due_at, row.retry_count) == (True, None, 15)


def test_who_lost_the_claim_cannot_write_how_the_import_ended(make_mirror):
    newer = held(make_mirror, status="started", epoch=4)
    expired = held(make_mirror, status="started", claim_expires_at=NOW)

    assert not settle(newer, Status.FINISHED)
    assert not settle(expired, Status.FINISHED)
    assert {state_of(newer).status, state_of(expired).status} == {"started"}


def test_an_ending_is_written_once(make_mirror):
    mirror = held(make_mirror, status="started")

    assert [settle(mirror, Status.FINISHED), settle(mirror, Status.FAILED)] == [True, False]
    assert state_of(mirror).status == "finished"


def test_expired_claims_are_those_whose_time_is_up(make_mirror):
    gone, standing = held(make_mirror, claim_expires_at=NOW), held(make_mirror)
    make_mirror()

    assert [row.pk for row in ImportState.objects.expired(now=NOW)] == [gone.pk]
    assert [row.pk for row in ImportState.objects.held(Claim(standing.pk, 3), now=NOW)] == [standing.pk]


def test_in_flight_and_overdue_answer_what_they_are_called(make_mirror):
    flying = {held(make_mirror, status=status).pk for status in IN_FLIGHT}
    due = make_mirror(next_execution_at=NOW)
    make_mirror(next_execution_at=NOW + MINUTE)

    assert {row.pk for row in ImportState.objects.in_flight()} == flying
    assert [row.pk for row in ImportState.objects.overdue(now=NOW)] == [due.pk]


def test_claims_beyond_a_capacity_are_those_that_stand(make_mirror):
    for state in ({"status": "started"}, {"status": "none"}, {"claim_expires_at": NOW}):
        held(make_mirror, **state)
    make_mirror()

    assert [ImportState.objects.beyond(capacity, now=NOW) for capacity in (0, 1, 2, 9)] == [2, 1, 0, 0]
