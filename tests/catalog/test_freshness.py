from datetime import timedelta

import pytest

from mirroring.catalog import Freshness, freshness, in_words
from mirroring.models import ImportState, Mirror
from mirroring.rules.cadence import Cadence
from tests.catalog.samples import NOW

CADENCE = Cadence()
LONGEST = CADENCE.max_delay + CADENCE.jitter


def mirror(*, created: timedelta, success: timedelta | None = None, **state: object) -> Mirror:
    """Return a mirror of some age that need not be stored to be judged."""
    one = Mirror(created_at=NOW - created)
    one.state = ImportState(last_successful_update_at=None if success is None else NOW - success, **state)
    return one


@pytest.mark.parametrize(
    ("judged", "verdict"),
    [
        (mirror(created=timedelta(days=9), success=LONGEST), Freshness.FRESH),
        (mirror(created=timedelta(days=9), success=LONGEST, retry_count=3), Freshness.FRESH),
        (mirror(created=timedelta(days=9), success=LONGEST + timedelta(seconds=1)), Freshness.STALE),
        (mirror(created=LONGEST), Freshness.NEW),
        (mirror(created=LONGEST + timedelta(seconds=1)), Freshness.STALE),
        (mirror(created=timedelta(0), retry_count=1), Freshness.STALE),
        (mirror(created=timedelta(0), hard_failed=True), Freshness.STALE),
    ],
)
def test_a_mirror_is_stale_once_its_success_is_older_than_the_longest_wait(judged, verdict):
    assert freshness(judged, now=NOW, cadence=CADENCE) is verdict


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (timedelta(seconds=-1), "1 second ago"),
        (timedelta(seconds=-59), "59 seconds ago"),
        (timedelta(minutes=-3), "3 minutes ago"),
        (timedelta(hours=-49), "2 days ago"),
        (timedelta(hours=1), "in 1 hour"),
        (timedelta(milliseconds=200), "now"),
    ],
)
def test_an_age_is_said_in_its_largest_unit(distance, words):
    assert in_words(NOW + distance, now=NOW) == words


def test_what_never_was_is_never():
    assert in_words(None, now=NOW) == "never"
