"""A rollout that somebody else moves while a driver or a person acts on it: what came first stands."""

from datetime import timedelta

import pytest

from tests.rollout.making import Elsewhere
from tests.trial import FIRST

pytestmark = pytest.mark.django_db


def offs() -> int:
    from mirroring.models.flag_change import FlagChange

    return sum(not entry.after["on"] for entry in FlagChange.objects.filter(flag=FIRST))


def aborted(course, flag=FIRST):
    from mirroring.rollout.controller import abort

    return abort(flag, by="somebody", why="enough", tracker=course.tracker)


def turned_off_by_hand(flag=FIRST):
    from mirroring.flags.changes import Change, Origin, change_flag

    change_flag(flag, Change(on=False), by="ada", origin=Origin.CLI, why="it hurts")


@pytest.fixture
def while_gates_are_asked(monkeypatch):
    """What happens, once, while a gate is asked."""
    from mirroring.flags import gates

    acts: list = []

    def slow(proposal):
        if acts:
            acts.pop()()
        return gates.Finding(passed=True, checked="slow")

    monkeypatch.setattr(gates, "_gates", dict(gates._gates))
    gates.register("slow", slow)
    return acts.append


def moved(**fields):
    """What another driver writes."""
    read().move(**fields)


def read():
    from mirroring.models import Rollout

    return Rollout.objects.get()


def test_a_driver_that_comes_while_another_asks_elsewhere_rolls_nothing_back_again(
    course, elsewhere: Elsewhere
):
    course.start()
    course.samples(6, 62)
    elsewhere.states["dev"] = "rolled back"
    elsewhere.meanwhile = lambda: course.drive(63)
    rollout = course.drive(62)

    assert rollout.state == "rolled back"
    assert offs() == 1
    assert rollout.events.filter(kind="rolled_back").count() == 1
    assert elsewhere.turned_off == ["dev"]


def test_a_step_that_begins_elsewhere_while_a_person_aborts_is_turned_off_there(course, elsewhere: Elsewhere):
    course.start()
    course.samples(6, 62)
    elsewhere.states["dev"] = "done"
    elsewhere.meanwhile = lambda: aborted(course) if "staging" in elsewhere.started else None
    rollout = course.drive(62)

    assert (rollout.state, rollout.why) == ("aborted", "enough")
    assert elsewhere.turned_off == [
        "dev",
        "staging",
        "staging",
    ]  # By the abort, and when it had begun all the same.


def test_a_step_that_begins_elsewhere_while_a_person_pauses_is_begun_anew_later(course, elsewhere: Elsewhere):
    from mirroring.rollout.controller import pause, resume

    course.start()
    course.samples(6, 62)
    elsewhere.states["dev"] = "done"
    elsewhere.meanwhile = lambda: pause(FIRST, by="somebody") if "staging" in elsewhere.started else None
    rollout = course.drive(62)

    assert (rollout.state, rollout.step, elsewhere.turned_off) == ("paused", 0, ["staging"])
    elsewhere.meanwhile = lambda: None
    resume(FIRST, by="somebody")
    course.sample(65)
    assert course.drive(66).step == 1
    assert elsewhere.started == ["dev", "staging", "staging"]


def test_one_aborted_while_its_first_step_begins_elsewhere_is_refused_and_kept(course, elsewhere: Elsewhere):
    from mirroring.rollout.controller import RolloutRefused

    elsewhere.meanwhile = lambda: aborted(course)
    with pytest.raises(RolloutRefused, match="ended as it began"):
        course.start()

    assert read().state == "aborted"
    assert set(elsewhere.turned_off) == {"dev"}


def test_a_step_of_a_rollout_that_was_aborted_meanwhile_turns_nothing_on(course, by_mirror):
    from mirroring.models.flag_change import FlagChange
    from mirroring.models.rollout import Overtaken
    from mirroring.rollout import stepping

    course.start(by_mirror, steps=["25", "100"])
    rollout = read()
    aborted(course, by_mirror)
    changes = FlagChange.objects.count()

    with pytest.raises(Overtaken):
        stepping.take(rollout, 1, now=course.at(62))
    with pytest.raises(Overtaken):
        stepping.finish(rollout, now=course.at(62))
    assert not course.on(by_mirror, seconds=63)
    assert FlagChange.objects.count() == changes
    assert read().state == "aborted"


def test_a_pause_stands_although_a_driver_wanted_the_next_step(course, by_mirror):
    from mirroring.models.rollout import Overtaken
    from mirroring.rollout import stepping
    from mirroring.rollout.controller import pause

    course.start(by_mirror, steps=["25", "100"])
    rollout = read()
    pause(by_mirror, by="somebody")

    with pytest.raises(Overtaken):
        stepping.take(rollout, 1, now=course.at(62))
    assert (read().state, read().step) == ("paused", 0)


def test_a_sample_is_judged_once(course):
    from mirroring.models.rollout import Overtaken
    from mirroring.rollout import driving

    course.start(interval=300)
    course.samples(6, 30)
    rollout = read()
    course.drive(31)

    with pytest.raises(Overtaken):
        driving._look(rollout, now=course.at(31))


def test_a_rollback_takes_back_also_what_was_paused_meanwhile(course):
    from mirroring.rollout.controller import pause
    from mirroring.rollout.rolling_back import Cause, roll_back

    course.start()
    rollout = read()
    pause(FIRST, by="somebody")
    roll_back(rollout, Cause("a breach", by="tester"), tracker=course.tracker, wait=timedelta(0))

    assert read().state == "rolled back"
    assert not course.on(seconds=1)


def test_an_abort_turns_off_also_what_has_just_come_through(course, monkeypatch):
    from mirroring.flags import clock
    from mirroring.models import Rollout
    from mirroring.rollout import stepping

    course.start()
    through = []

    def known():  # The time is asked for between the reading of the rollout and its end.
        if not through:
            through.append(read())
            stepping.finish(through[0], now=course.at(1))

    monkeypatch.setattr(clock, "_known", [known])
    rollout = aborted(course)

    assert not course.on(seconds=2)
    assert rollout.state == "aborted"
    assert {each.state for each in Rollout.objects.all()} == {"done", "aborted"}


def test_off_typed_while_the_gates_of_the_next_share_are_asked_stands(
    course, by_mirror, while_gates_are_asked
):
    course.start(by_mirror, steps=["25", "100"])
    course.samples(6, 62)
    while_gates_are_asked(lambda: turned_off_by_hand(by_mirror))
    course.drive(62)

    assert not course.on(by_mirror, seconds=62)
    rollout = course.drive(63)
    assert rollout.state == "aborted"
    assert "turned off by hand" in rollout.why


def test_off_typed_before_the_end_is_written_stands(course):
    from mirroring.models.rollout import Overtaken
    from mirroring.rollout import stepping

    course.start()
    rollout = read()
    turned_off_by_hand()

    with pytest.raises(Overtaken):
        stepping.finish(rollout, now=course.at(62))
    assert not course.on(seconds=63)


def test_a_rollout_whose_gates_are_being_asked_is_driven_by_nobody(course, while_gates_are_asked):
    while_gates_are_asked(lambda: course.drive(1))
    course.start()

    assert (read().state, offs()) == ("running", 0)
    assert course.on(seconds=2)


def test_one_that_never_took_its_first_step_is_given_up(course):
    from mirroring.models import Rollout

    course.start()
    Rollout.objects.update(state="beginning")
    assert course.drive(299).state == "beginning"

    rollout = course.drive(301)
    assert rollout.state == "aborted"
    assert "whoever began it is gone" in rollout.why


def test_a_step_elsewhere_that_two_drivers_take_is_not_turned_off_there(course, elsewhere: Elsewhere):
    course.start()
    course.samples(6, 62)
    elsewhere.states["dev"] = "done"
    elsewhere.meanwhile = lambda: (course.sample(63), course.drive(64)) if elsewhere.started[1:] else None
    rollout = course.drive(62)

    assert (rollout.step, elsewhere.turned_off) == (1, [])
    assert rollout.events.filter(kind="step").count() == 2


def test_a_look_of_another_driver_while_a_step_begins_elsewhere_does_not_undo_it(
    course, elsewhere: Elsewhere
):
    course.start(seconds=0)
    course.samples(6, 62)
    elsewhere.states["dev"] = "done"
    looked = course.at(61) - timedelta(microseconds=1)
    elsewhere.meanwhile = lambda: moved(judged_at=looked) if elsewhere.started[1:] else None
    rollout = course.drive(62)

    assert (rollout.step, elsewhere.started, elsewhere.turned_off) == (1, ["dev", "staging"], [])


def test_a_look_that_fails_lets_the_lease_run_out(course):
    from mirroring.models import Rollout

    course.start(interval=60)
    Rollout.objects.update(tally={"a name of an older release": 1})
    for seconds in range(6, 126, 10):
        course.sample(seconds)
        course.drive(seconds + 1)

    assert not course.on(seconds=125)
    assert course.drive(126).state == "lapsed"
