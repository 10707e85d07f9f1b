"""When a mirror is tried next, in words."""

from datetime import UTC, datetime, timedelta

import pytest

from mirroring.models import ImportState
from mirroring.rules.states import Status
from mirroring.web.freshness import next_attempt

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=7)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "in 7 minutes"),
        ({"next_execution_at": NOW}, "waits for a slot"),
        ({"urgent": True}, "waits for a slot"),
        ({"claim_expires_at": LATER}, "starting"),
        ({"claim_expires_at": LATER, "status": Status.SCHEDULED}, "starting"),
        ({"claim_expires_at": LATER, "status": Status.STARTED}, "running"),
        ({"hard_failed": True}, "not before a retry"),
        ({"active": False}, "not while paused"),
        ({"active": False, "hard_failed": True, "urgent": True}, "not while paused"),
    ],
)
def test_the_next_attempt_is_told_in_words(state, words):
    assert next_attempt(ImportState(**{"next_execution_at": LATER, **state}), now=NOW) == words
