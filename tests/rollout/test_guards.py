import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirroring.rollout.guards import (
    Action,
    Budget,
    Budgets,
    Direction,
    Guard,
    Kind,
    Reading,
    Tally,
    Verdict,
    decide,
    judge,
)

FEW = 3
SIZES = st.floats(min_value=0.001, max_value=1e6)
VALUES = st.lists(SIZES, min_size=FEW, max_size=20)
DIRECTIONS, KINDS, ACTIONS = st.sampled_from(Direction), st.sampled_from(Kind), st.sampled_from(Action)
GUARDS = st.builds(Guard, st.just("any"), DIRECTIONS, SIZES, KINDS)
VERDICTS = st.lists(st.sampled_from(Verdict), max_size=5)
ALL_BUDGETS = st.builds(Budget, st.integers(0, 4), ACTIONS)
BUDGETS = st.builds(Budgets, ALL_BUDGETS, ALL_BUDGETS, ALL_BUDGETS, ALL_BUDGETS)
TALLIES = st.builds(Tally, *[st.integers(0, 6)] * 4)


def at_most(bound, kind=Kind.RATIO):
    return Guard("redis_calls", Direction.UP, bound, kind)


def verdict(guard, before, now, min_samples=FEW):
    return judge(guard, Reading(before), Reading(now), min_samples=min_samples).verdict


@pytest.mark.parametrize(
    ("kind", "now", "expected"),
    [
        (Kind.RATIO, [11, 11, 11], Verdict.GOOD),
        (Kind.RATIO, [12, 12, 12], Verdict.BAD),
        (Kind.PEAK, [1, 1, 12], Verdict.BAD),
        (Kind.PEAK, [1, 1, 11], Verdict.GOOD),
        (Kind.DIFFERENCE, [11.1, 11.1, 11.1], Verdict.GOOD),
        (Kind.DIFFERENCE, [11.2, 11.2, 11.2], Verdict.BAD),
        (Kind.ABSOLUTE, [1, 1, 1], Verdict.GOOD),
        (Kind.ABSOLUTE, [1.2, 1.2, 1.2], Verdict.BAD),
    ],
)
def test_each_kind_holds_its_own_figure_against_the_bound(kind, now, expected):
    assert verdict(at_most(1.15, kind), [10, 10, 10], now) is expected


def test_a_judgement_names_its_bound_once():
    assert judge(at_most(1.15), Reading([10] * FEW), Reading([11] * FEW), min_samples=FEW).why == (
        "1.1 against at most 1.15 times before"
    )


def test_a_guard_downwards_finds_a_fall_bad():
    guard = Guard("throughput", Direction.DOWN, 0.9, Kind.RATIO)

    assert verdict(guard, [10, 10, 10], [8, 8, 8]) is Verdict.BAD
    assert verdict(guard, [10, 10, 10], [30, 30, 30]) is Verdict.GOOD


def test_silence_an_error_and_too_few_samples_are_three_different_things():
    good = Reading([1, 1, 1])

    assert judge(at_most(2), good, Reading(), min_samples=FEW).verdict is Verdict.NO_DATA
    assert judge(at_most(2), good, Reading([1]), min_samples=FEW).verdict is Verdict.TOO_FEW
    failed = judge(at_most(2), good, Reading([1, 1, 1], ["Redis is away"]), min_samples=FEW)
    assert failed.verdict is Verdict.QUERY_ERROR
    assert "Redis is away" in failed.why


def test_nothing_before_and_something_now_is_no_multiple():
    assert verdict(at_most(2), [0, 0, 0], [5, 5, 5]) is Verdict.NO_DATA
    assert verdict(at_most(2), [0, 0, 0], [0, 0, 0]) is Verdict.GOOD


def test_what_lies_below_the_floor_is_noise_and_no_multiple():
    def of(before, now):
        return judge(at_most(2), Reading(before, floor=5), Reading(now, floor=5), min_samples=FEW).verdict

    assert of([0, 0, 0], [4, 4, 4]) is Verdict.GOOD
    assert of([0, 0, 0], [11, 11, 11]) is Verdict.BAD


def test_an_absolute_guard_needs_no_baseline():
    assert (
        judge(at_most(0, Kind.ABSOLUTE), Reading(), Reading([0, 0, 0]), min_samples=FEW).verdict
        is Verdict.GOOD
    )


@given(GUARDS, VALUES, VALUES, st.floats(1, 100))
def test_what_is_bad_stays_bad_when_it_gets_worse(guard, before, now, factor):
    if verdict(guard, before, now) is Verdict.BAD:
        worse = [value * factor if guard.direction is Direction.UP else value / factor for value in now]
        assert verdict(guard, before, worse) is Verdict.BAD


@given(GUARDS, VALUES, VALUES, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_no_number_that_is_none_is_ever_good_or_bad(guard, before, now, odd):
    assert verdict(guard, before, [*now, odd]) is Verdict.QUERY_ERROR


@given(GUARDS, VALUES, st.lists(SIZES, max_size=FEW - 1))
def test_too_little_is_never_good_and_never_bad(guard, before, now):
    assert verdict(guard, before, now) in {Verdict.NO_DATA, Verdict.TOO_FEW}


@given(st.text(max_size=9), st.text(max_size=9), DIRECTIONS, SIZES, KINDS, VALUES, VALUES)
def test_the_name_of_a_measure_changes_no_verdict(one, other, direction, bound, kind, before, now):
    assert verdict(Guard(one, direction, bound, kind), before, now) is verdict(
        Guard(other, direction, bound, kind), before, now
    )


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        ("bad", Action.ROLL_BACK),
        ("no_data", Action.HOLD),
        ("query_error", Action.HOLD),
        ("too_few", Action.HOLD),
    ],
)
def test_each_budget_has_its_own_safe_default(trouble, expected):
    allowed = getattr(Budgets(), trouble).allowed

    assert decide(Tally(**{trouble: allowed}), [], Budgets()).action is Action.GO_ON
    assert decide(Tally(**{trouble: allowed + 1}), [], Budgets()).action is expected


@given(TALLIES, VERDICTS, BUDGETS)
def test_the_worst_action_of_the_exceeded_budgets_is_taken_and_no_other(tally, verdicts, budgets):
    over = [
        getattr(budgets, kind).action
        for kind in ("bad", "no_data", "query_error", "too_few")
        if getattr(tally, kind) > getattr(budgets, kind).allowed
    ]
    worst = next((act for act in (Action.ROLL_BACK, Action.HOLD) if act in over), Action.GO_ON)

    assert decide(tally, verdicts, budgets).action is worst


@example(Tally(), [Verdict.NO_DATA])
@example(Tally(), [Verdict.GOOD, Verdict.TOO_FEW])
@given(TALLIES, VERDICTS)
def test_by_default_a_step_is_left_only_when_every_guard_is_good(tally, verdicts):
    if decide(tally, verdicts, Budgets()).may_advance:
        assert set(verdicts) <= {Verdict.GOOD}


def test_a_budget_that_says_go_on_lets_a_step_be_left_without_that_evidence():
    lenient = Budgets(too_few=Budget(1, Action.GO_ON))

    assert not decide(Tally(too_few=1), [Verdict.TOO_FEW], lenient).may_advance
    assert decide(Tally(too_few=2), [Verdict.TOO_FEW], lenient).may_advance
    assert not decide(Tally(too_few=2), [Verdict.TOO_FEW, Verdict.NO_DATA], lenient).may_advance


def test_bad_looks_add_up_while_the_others_count_in_a_row():
    tally = Tally().after([Verdict.BAD, Verdict.NO_DATA]).after([Verdict.GOOD]).after([Verdict.BAD])

    assert tally == Tally(bad=2, no_data=0)
