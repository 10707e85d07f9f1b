"""How many slots a host earns, and when it is left alone: pure rules."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirroring.rules.hosts import (
    COOL_FIRST,
    COOL_LONGEST,
    FAILURES_BEFORE_COOLING,
    RETRY_AFTER_LONGEST,
    Bounds,
    Report,
    Signal,
    Standing,
    after,
    bounds,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HELD_TO = Bounds(start=8, ceiling=20)
NEW = Standing()


def report(signal, *, began=NOW, retry_after=None):
    return Report(signal, "it said so", started_at=began, retry_after=retry_after)


def heard(standing, *signals, now=NOW, dice=0.5, **how):
    for signal in signals:
        standing = after(standing, report(signal, **how), bounds=HELD_TO, now=now, dice=dice)
    return standing


def dead(coolings=0):
    return heard(Standing(coolings=coolings), *[Signal.UNREACHABLE] * FAILURES_BEFORE_COOLING)


def limit(standing, *, max_slots=None, now=NOW, held_to=HELD_TO):
    return standing.limit(held_to, max_slots=max_slots, now=now)


@pytest.mark.parametrize(
    ("capacity", "start", "ceiling"), [(0, 1, 1), (1, 1, 1), (3, 1, 3), (9, 3, 9), (10, 3, 9), (100, 25, 90)]
)
def test_bounds_leave_a_tenth_to_others_and_begin_with_a_quarter(capacity, start, ceiling):
    assert bounds(capacity, share_percent=90) == Bounds(start=start, ceiling=ceiling)


def test_where_nothing_is_earned_the_share_alone_bounds():
    held_to = bounds(100, share_percent=50, adaptive=False)

    assert limit(dead(), held_to=held_to) == 50
    assert limit(NEW, held_to=held_to, max_slots=3) == 3


def test_a_new_host_begins_with_few_and_gets_one_more_for_each_answer():
    assert limit(NEW) == 8
    assert limit(heard(NEW, Signal.ANSWERS, Signal.ANSWERS)) == 10


def test_a_host_that_has_all_it_may_have_is_not_written():
    grown = heard(NEW, *[Signal.ANSWERS] * 30)

    assert limit(grown) == 20
    assert heard(grown, Signal.ANSWERS) == grown


def test_what_says_nothing_of_the_host_changes_nothing():
    assert heard(NEW, Signal.NONE) == NEW


def test_a_person_bounds_what_a_host_has_earned():
    assert limit(heard(NEW, *[Signal.ANSWERS] * 9), max_slots=2) == 2
    assert limit(NEW, max_slots=0) == 0


def test_an_overload_halves_the_slots():
    assert limit(heard(NEW, Signal.OVERLOADED)) == 4


def test_slots_are_halved_once_for_all_that_was_in_flight_together():
    once = heard(NEW, Signal.OVERLOADED, Signal.OVERLOADED, began=NOW)

    assert limit(once) == 4
    assert limit(heard(once, Signal.OVERLOADED, began=NOW + SECOND, now=NOW + SECOND)) == 2


def test_above_the_point_of_the_last_overload_slots_grow_slowly():
    lowered = heard(NEW, Signal.OVERLOADED)

    assert limit(heard(lowered, Signal.ANSWERS, dice=0.9)) == 4
    assert limit(heard(lowered, Signal.ANSWERS, dice=0.1)) == 5


def test_failures_in_a_row_open_the_breaker():
    assert limit(dead()) == 0
    assert dead().cooling_until == NOW + COOL_FIRST
    assert dead().cooling_reason == "it said so"


def test_an_answer_between_the_failures_keeps_it_closed():
    mixed = heard(NEW, *[Signal.UNREACHABLE] * 4, Signal.ANSWERS, *[Signal.UNREACHABLE] * 4)

    assert limit(mixed) > 0


def test_after_its_time_one_import_tries_the_host():
    assert limit(dead(), now=NOW + COOL_FIRST) == 1


def test_each_cooling_is_twice_as_long_up_to_a_longest():
    again = heard(dead(), Signal.UNREACHABLE, now=NOW + COOL_FIRST, began=NOW + COOL_FIRST)

    assert again.cooling_until == NOW + COOL_FIRST + 2 * COOL_FIRST
    assert dead(coolings=40).cooling_until == NOW + COOL_LONGEST


def test_what_was_in_flight_when_it_opened_prolongs_nothing():
    assert heard(dead(), Signal.UNREACHABLE).cooling_until == NOW + COOL_FIRST


def test_an_answer_closes_it_at_once_and_slots_grow_again():
    alive = heard(dead(), Signal.ANSWERS, now=NOW + COOL_FIRST)

    assert (alive.cooling_until, alive.failures, alive.coolings) == (None, 0, 0)
    assert limit(alive, now=NOW + COOL_FIRST) >= 1


def test_a_host_that_asks_for_a_pause_has_it():
    asked = heard(NEW, Signal.OVERLOADED, retry_after=timedelta(seconds=40))

    assert asked.cooling_until == NOW + timedelta(seconds=40)
    assert limit(asked) == 0
    assert heard(asked, Signal.ANSWERS).cooling_until == asked.cooling_until, (
        "an older import changes nothing"
    )
    assert limit(asked, now=NOW + timedelta(seconds=40)) == 4


def test_no_host_gets_a_pause_without_end():
    asked = heard(NEW, Signal.OVERLOADED, retry_after=timedelta(days=999))

    assert asked.cooling_until == NOW + RETRY_AFTER_LONGEST


@given(st.lists(st.tuples(st.sampled_from(Signal), st.integers(0, 900), st.booleans()), max_size=40))
def test_whatever_happens_a_host_is_tried_again_by_itself(events):
    standing, now = NEW, NOW
    for signal, seconds, asks in events:
        now += timedelta(seconds=seconds)
        pause = timedelta(seconds=seconds) if asks else None
        standing = heard(standing, signal, now=now, began=now, retry_after=pause)
        assert 0 <= limit(standing, now=now) <= HELD_TO.ceiling
    assert limit(standing, now=now + RETRY_AFTER_LONGEST) >= 1
