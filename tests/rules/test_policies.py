"""What follows from each outcome."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from mirroring.rules.cadence import Cadence, Dice
from mirroring.rules.outcomes import SUCCESSES, Outcome
from mirroring.rules.policies import POLICIES, Rest, judge, remedy, rest_of
from mirroring.rules.states import Status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
CADENCE = Cadence()


def verdict(outcome, *, before="", failures=0, dice=0.0):
    return judge(
        outcome,
        before=before,
        retry_count=failures,
        now=NOW,
        duration=timedelta(0),
        cadence=CADENCE,
        dice=Dice(dice, dice, dice),
    )


def history(outcome):
    """Return when a mirror is tried that always ends so, from its first failure until it waits for a person."""
    at, before, failures, tried = timedelta(0), "", 0, []
    for _ in range(100):
        tried.append(at)
        found = verdict(outcome, before=before, failures=failures)
        if found.waits_for_a_person:
            return tried
        at, before, failures = at + (found.next_at - NOW), outcome, found.retry_count
    return tried


def test_every_outcome_has_its_policy():
    assert set(POLICIES) == set(Outcome)


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - SUCCESSES))
def test_a_failure_that_counts_says_what_can_be_done(outcome):
    if POLICIES[outcome].counts:
        assert len(remedy(outcome, path="a/b")) > 20
    assert "{" not in remedy(outcome, path="a/b")


@pytest.mark.parametrize("outcome", sorted(SUCCESSES))
def test_a_success_begins_a_new_count(outcome):
    found = verdict(outcome, failures=9)

    assert (found.status, found.retry_count, found.waits_for_a_person) == (Status.FINISHED, 0, False)


def test_a_passing_trouble_waits_longer_each_time_with_jitter_and_is_given_up_after_fourteen():
    waits = [verdict(Outcome.TRANSIENT, failures=n).next_at - NOW for n in range(4)]

    assert waits == [30 * MINUTE, 60 * MINUTE, 90 * MINUTE, 120 * MINUTE]
    assert verdict(Outcome.TRANSIENT, dice=0.9).next_at > NOW + 30 * MINUTE
    assert len(history(Outcome.TRANSIENT)) == 15


def test_the_second_refusal_in_a_row_pauses_a_mirror():
    assert not verdict(Outcome.AUTH).waits_for_a_person
    assert not verdict(Outcome.AUTH, before=Outcome.HUNG, failures=3).waits_for_a_person
    assert verdict(Outcome.AUTH, before=Outcome.AUTH, failures=1).waits_for_a_person
    assert rest_of(Outcome.AUTH) is Rest.PAUSED


def test_one_that_is_gone_is_asked_at_most_once_a_day_after_a_week_and_then_archived():
    tried = history(Outcome.GONE)
    late = [at for at in tried if at >= 7 * DAY]

    assert all(later - earlier >= DAY for earlier, later in itertools.pairwise(late))
    assert len([at for at in tried if at < DAY]) > 3
    assert 8 * DAY < tried[-1] < 15 * DAY
    assert rest_of(Outcome.GONE) is Rest.ARCHIVED


@pytest.mark.parametrize("outcome", [Outcome.BLOCKED, Outcome.TOO_BIG, Outcome.EMPTIED, Outcome.RENAMED])
def test_what_only_a_person_can_mend_is_asked_slowly(outcome):
    assert len([at for at in history(outcome) if at < DAY]) <= 6


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.FENCED, Outcome.INTERRUPTED, Outcome.NO_SLOT])
def test_what_is_not_the_mirrors_doing_costs_it_nothing(outcome):
    found = verdict(outcome, failures=3)

    assert (found.retry_count, found.next_at, found.waits_for_a_person) == (3, NOW, False)


def test_our_own_disk_is_never_held_against_a_mirror():
    found = verdict(Outcome.RESOURCE, failures=14)

    assert (found.retry_count, found.waits_for_a_person) == (14, False)
    assert found.next_at > NOW


def test_a_damaged_mirror_is_cloned_afresh_at_once_and_not_in_a_loop():
    assert verdict(Outcome.CORRUPT).next_at == NOW
    assert verdict(Outcome.CORRUPT, before=Outcome.CORRUPT, failures=1).next_at >= NOW + 60 * MINUTE


def test_before_anything_was_tried_there_is_nothing_to_cure():
    assert remedy("", path="a/b") == ""
    assert rest_of("") is Rest.HARD_FAILED
