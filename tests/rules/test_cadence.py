from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirroring.rules.cadence import URGENT_HEAD_START, Cadence, Dice, is_hard_failed, next_execution

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES = timedelta(minutes=1)
GITLAB = Cadence()
LOW = Dice(backoff=0.0, floor=0.0, ceiling=0.0)
SHARES = st.floats(min_value=0, max_value=1, exclude_max=True)


def delay(*, took, retries=0, dice=LOW, cadence=GITLAB):
    return next_execution(now=NOW, duration=took, retry_count=retries, cadence=cadence, dice=dice) - NOW


# GitLab's own worked values, with a backoff jitter of 2 of 6 seconds and a floor jitter of 30 of 60.
@pytest.mark.parametrize(
    ("took", "retries", "minutes"),
    [
        (2 * MINUTES, 0, 52),
        (2 * MINUTES, 1, 52),
        (2 * MINUTES, 3, 156),
        (timedelta(0), 0, 30.5),
        (timedelta(0), 4, 122),
        (60 * MINUTES, 0, 300.25),
        (60 * MINUTES, 9, 300.25),
    ],
)
def test_the_formula_gives_gitlabs_worked_values(took, retries, minutes):
    dice = Dice(backoff=2 / 6, floor=0.5, ceiling=0.25)

    assert delay(took=took, retries=retries, dice=dice) == pytest.approx(
        minutes * MINUTES, abs=timedelta(milliseconds=1)
    )


def test_a_mirror_that_was_never_started_waits_for_the_floor_alone():
    assert delay(took=timedelta(0)) == 30 * MINUTES


def test_the_interval_leaves_its_floor_when_an_import_takes_75_seconds_and_meets_the_ceiling_at_750():
    assert delay(took=timedelta(seconds=75)) == 30 * MINUTES
    assert delay(took=timedelta(seconds=76)) > 30 * MINUTES
    assert delay(took=timedelta(seconds=749)) < 300 * MINUTES
    assert delay(took=timedelta(seconds=750)) == delay(took=timedelta(hours=9)) == 300 * MINUTES


def test_a_mirror_that_fails_fast_is_hard_failed_after_47_and_a_half_hours():
    waits, retries = [], 0
    while True:
        retries += 1
        if is_hard_failed(retry_count=retries, max_retry=GITLAB.max_retry):
            break
        waits.append(delay(took=timedelta(0), retries=retries))

    assert retries == 15
    assert [wait / MINUTES for wait in waits] == [30, 60, 90, 120, 150, 180, 210, 240, 270, *[300] * 5]
    assert sum(waits, timedelta(0)) == timedelta(hours=47.5)


@pytest.mark.parametrize(("retries", "hard"), [(0, False), (14, False), (15, True)])
def test_the_fifteenth_failure_in_a_row_is_hard(retries, hard):
    assert is_hard_failed(retry_count=retries, max_retry=14) is hard


def test_each_bound_can_be_changed():
    quick = Cadence(min_delay=timedelta(seconds=3), max_delay=timedelta(seconds=10), jitter=timedelta(0))

    assert delay(took=timedelta(0), retries=2, cadence=quick) == timedelta(seconds=6)
    assert delay(took=timedelta(0), retries=9, cadence=quick) == timedelta(seconds=10)


@given(
    took=st.timedeltas(timedelta(0), timedelta(days=3)),
    retries=st.integers(0, 10_000),
    dice=st.builds(Dice, backoff=SHARES, floor=SHARES, ceiling=SHARES),
)
def test_every_delay_lies_between_the_floor_and_the_jittered_ceiling(took, retries, dice):
    assert 30 * MINUTES <= delay(took=took, retries=retries, dice=dice) <= 301 * MINUTES


@given(dice=st.builds(Dice, backoff=SHARES, floor=SHARES, ceiling=SHARES), retries=st.integers(0, 20))
def test_more_failures_and_longer_imports_never_shorten_the_wait(dice, retries):
    took = timedelta(seconds=100)

    assert delay(took=took, retries=retries, dice=dice) <= delay(took=took, retries=retries + 1, dice=dice)
    assert delay(took=took, retries=retries, dice=dice) <= delay(took=took * 2, retries=retries, dice=dice)


def test_an_urgent_mirror_stands_before_any_backlog():
    years_late = NOW - timedelta(days=5 * 365)

    assert years_late > NOW - URGENT_HEAD_START
