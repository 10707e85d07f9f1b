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
    assert elsewhere.turned_off == ["dev", "staging"]


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

    course.start(interval=300)
    course.samples(6, 30)
    rollout = read()
    course.drive(31)

    with pytest.raises(Overtaken):
        rollout.move(tally={"bad": 1}, judged_at=course.at(26))


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
