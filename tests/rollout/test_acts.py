import json
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.trial import FIRST, SECOND

pytestmark = pytest.mark.django_db


@pytest.fixture
def feature(capsys):
    """Run `manage.py feature ...` and return its JSON."""

    def run(*words):
        call_command("feature", *words, "--json")
        return json.loads(capsys.readouterr().out)

    return run


def test_a_rollout_is_started_paused_resumed_shown_and_aborted_by_commands(course, feature):
    started = feature("rollout", "start", FIRST, "--interval", "90s")
    assert (started["state"], started["interval_seconds"], started["steps"]) == ("running", 90, ["on, here"])

    assert feature("rollout", "pause", FIRST, "--why", "lunch")["state"] == "paused"
    assert feature("rollout", "resume", FIRST)["state"] == "running"
    assert feature("rollout", "status", FIRST)["id"] == started["id"]
    aborted = feature("rollout", "abort", FIRST, "--why", "enough")

    assert (aborted["state"], aborted["why"]) == ("aborted", "enough")
    assert aborted["rollback_seconds"] < 5
    assert not course.on()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["start", FIRST, "--interval", "soon"], "no duration"),
        (["start", FIRST, "--steps", "25,100"], "for all"),
        (["start", SECOND], "requires"),
        (["pause", FIRST], "No rollout"),
        (["status", "nothing"], "There is no flag"),
    ],
)
def test_what_cannot_be_done_is_one_line_that_says_why(course, words, says, capsys):
    with pytest.raises(SystemExit) as ended:
        call_command("feature", "rollout", *words)

    error = capsys.readouterr().err
    assert ended.value.code == 1
    assert says in error
    assert error.count("\n") == 1


CHANGING = {
    "set": f"set {FIRST} true",
    "delete": f"delete {FIRST}",
    "freeze": "freeze --why moving",
    "thaw": "thaw",
    "rollout start": f"rollout start {FIRST}",
    "rollout pause": f"rollout pause {FIRST}",
    "rollout resume": f"rollout resume {FIRST}",
    "rollout abort": f"rollout abort {FIRST}",
    "announce": f"announce {FIRST} --at 2100-01-01T00:00Z",
    "plan": f"plan {FIRST} tick qa_result --evidence seen",
}
BEFORE = {"thaw": "freeze --why moving", "rollout pause": CHANGING["rollout start"]}
BEFORE |= {"rollout abort": CHANGING["rollout start"], "delete": CHANGING["set"]}


def test_every_command_that_changes_something_is_tried_twice_below():
    from mirroring.chatops.acts import EVERY

    changing = {" ".join(act.words[1:]) for act in EVERY if act.changes} | {"plan"}
    assert changing == set(CHANGING)


@pytest.mark.parametrize("name", CHANGING)
def test_a_command_that_was_cut_off_can_be_typed_again(name, course):
    """What Slack is told about a command whose process ended: nothing is done twice, whatever it had done."""
    from mirroring.chatops import running
    from mirroring.chatops.act import Caller
    from mirroring.flags.changes import Origin
    from mirroring.models import Rollout
    from mirroring.models.change_freeze import ChangeFreeze

    def type_in(line):
        return running.here(["feature", *line.split()], caller=Caller("slack:U1", Origin.CHATOPS))

    def state():
        active = Rollout.objects.filter(ended_at=None).values_list("flag", "state", "step")
        return course.on(), list(active), str(ChangeFreeze.current())

    if name in BEFORE:
        assert type_in(BEFORE[name]).ok
    if name == "rollout resume":
        type_in(CHANGING["rollout start"])
        type_in(CHANGING["rollout pause"])
    assert type_in(CHANGING[name]).ok is (name != "announce")  # No Slack is here.
    once = state()
    type_in(CHANGING[name])

    assert state() == once


def test_a_flag_that_a_simulation_does_not_read_is_refused_with_those_it_does(feature, capsys):
    from mirroring.flags import usage
    from mirroring.scheduler import dispatch

    with pytest.raises(SystemExit):
        feature("simulate", FIRST)

    said = capsys.readouterr().err
    simulated = usage.asked_in(Path(dispatch.__file__))
    assert f"{FIRST} makes no difference to a simulation" in said
    assert said.strip().endswith(f"can be simulated: {', '.join(simulated) or 'none'}")


def test_a_gate_can_be_overridden_at_the_start_and_the_audit_says_so(course, feature):
    from mirroring.models import FlagChange

    feature("rollout", "start", SECOND, "--override", "requires", "--override", "stable")

    assert set(FlagChange.objects.get().overrides) == {"requires", "stable"}


def test_changes_by_a_rollout_carry_the_metrics_of_their_moment(course, feature):
    from mirroring.models import FlagChange

    feature("rollout", "start", FIRST)

    assert FlagChange.objects.get().snapshot["redis_calls"] == 100.0


def test_the_status_tells_a_person_the_step_the_lease_and_every_guard(course, capsys):
    course.start()
    course.samples(6, 20)
    course.drive(20)
    call_command("feature", "rollout", "status", FIRST)
    said = capsys.readouterr().out

    assert "step 1 of 1: on, here" in said
    assert "lease until" in said
    assert said.count("good") == 7
