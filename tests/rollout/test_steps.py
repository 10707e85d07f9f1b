from datetime import timedelta

import pytest

from mirroring.rollout.steps import BadSteps, Step, StepKind, duration, steps


def test_a_flag_by_actor_rises_in_percentages():
    assert [step.percentage for step in steps([], by_actor=True)] == [1, 10, 25, 50, 75, 100]
    assert [step.percentage for step in steps(["5%", "100"], by_actor=True)] == [5, 100]


@pytest.mark.parametrize("given", [["10", "5"], ["0"], ["101"], ["5", "5"], ["half"]])
def test_percentages_that_make_no_rise_are_refused(given):
    with pytest.raises(BadSteps):
        steps(given, by_actor=True)


def test_a_global_flag_goes_through_the_environments_and_comes_here_last():
    made = steps([], by_actor=False, environments=["dev", "staging"])

    assert made == [Step(StepKind.ENVIRONMENT, name) for name in ("dev", "staging", "here")]


def test_a_global_flag_without_environments_has_one_step_and_its_bake_time():
    assert steps([], by_actor=False) == [Step(StepKind.ENVIRONMENT, "here")]


@pytest.mark.parametrize(
    ("given", "says"), [(["25"], "for all"), (["moon"], "no such"), (["here", "here"], "twice")]
)
def test_steps_that_a_global_flag_cannot_take_are_refused_with_the_reason(given, says):
    with pytest.raises(BadSteps, match=says):
        steps(given, by_actor=False)


@pytest.mark.parametrize(
    ("given", "instead"),
    [(["here", "staging"], "staging,here"), (["dev", "here", "staging"], "dev,staging,here")],
)
def test_this_environment_comes_last_as_its_lease_is_renewed_in_its_own_step_only(given, instead):
    with pytest.raises(BadSteps, match=f"here comes last.*write --steps {instead}$"):
        steps(given, by_actor=False, environments=["dev", "staging"])


@pytest.mark.parametrize("given", [["staging"], ["staging", "here"], ["here"]])
def test_a_global_flag_may_leave_environments_out(given):
    made = steps(given, by_actor=False, environments=["dev", "staging"])

    assert [step.value for step in made] == given


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", timedelta(seconds=90)), ("15m", timedelta(minutes=15)), ("2h", timedelta(hours=2))],
)
def test_durations_are_read(text, expected):
    assert duration(text) == expected


@pytest.mark.parametrize("text", ["", "15", "m", "0s", "1.5h", "-3m"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(BadSteps):
        duration(text)
