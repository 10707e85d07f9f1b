import itertools

import pytest

from mirroring.rules.states import AT_REST, IN_FLIGHT, MAY_FOLLOW, Status

# GitLab's events: schedule, start, finish, fail_op, cancel. `canceled -> scheduled` is its later repair of rows that
# never ran again; `none -> canceled` is not a move here, since a mirror that never ran has nothing to cancel.
LEGAL = {
    ("none", "scheduled"),
    ("finished", "scheduled"),
    ("failed", "scheduled"),
    ("canceled", "scheduled"),
    ("scheduled", "started"),
    ("started", "finished"),
    ("scheduled", "failed"),
    ("started", "failed"),
    ("scheduled", "canceled"),
    ("started", "canceled"),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Status, Status)))
def test_a_status_follows_another_only_by_the_table(before, after):
    assert (before in MAY_FOLLOW[after]) == ((before, after) in LEGAL)


def test_scheduled_and_started_hold_a_slot_and_the_others_rest():
    assert {"scheduled", "started"} == IN_FLIGHT
    assert {"none", "finished", "failed", "canceled"} == AT_REST
