"""A rollout through other environments, which are a double of ours: chatops has the real way there, with its tests."""

import pytest

from tests.trial import FIRST

pytestmark = pytest.mark.django_db


def test_it_waits_for_each_environment_and_comes_here_last(course, elsewhere):
    course.start()
    course.samples(6, 62)
    course.drive(62)
    assert (elsewhere.started, course.on(seconds=62)) == (["dev"], False)

    elsewhere.states["dev"] = "done"
    course.drive(63)
    assert elsewhere.started == ["dev", "staging"]
    elsewhere.states["staging"] = "done"
    course.samples(70, 130)
    course.drive(130)

    assert course.on(seconds=131)


def test_one_that_fails_elsewhere_is_taken_back_everywhere(course, elsewhere):
    course.start()
    course.samples(6, 62)
    elsewhere.states["dev"] = "rolled back"
    rollout = course.drive(62)

    assert rollout.state == "rolled back"
    assert elsewhere.turned_off == ["dev"]
    assert not course.on(FIRST, seconds=63)


def test_one_whose_beginning_elsewhere_may_have_been_heard_is_turned_off_there(course, elsewhere):
    from mirroring.models import Rollout
    from mirroring.rollout.environments import EnvironmentRefused

    def lost():
        raise EnvironmentRefused("dev: it does not answer: timed out")

    elsewhere.meanwhile = lost
    with pytest.raises(EnvironmentRefused):
        course.start()
    rollout = Rollout.objects.get()
    assert (rollout.state, rollout.elsewhere) == ("aborted", ["dev"])
    assert "timed out" in rollout.why

    course.drive(29)
    assert elsewhere.turned_off == []
    assert course.drive(31).elsewhere == []
    assert elsewhere.turned_off == ["dev"]


def test_what_was_begun_elsewhere_by_a_driver_that_died_is_turned_off_there_with_the_rest(course, elsewhere):
    from mirroring.rollout.controller import abort

    def dies():
        raise MemoryError

    course.start()
    course.samples(6, 62)
    elsewhere.states["dev"] = "done"
    elsewhere.meanwhile = lambda: dies() if "staging" in elsewhere.started else None
    assert course.drive(62).step == 0

    elsewhere.meanwhile = lambda: None
    abort(FIRST, by="ada", why="enough", tracker=course.tracker)
    assert elsewhere.turned_off == ["dev", "staging"]


def test_an_environment_that_could_not_be_reached_is_asked_again_and_told_of_once(course, elsewhere):
    from mirroring.rollout.controller import abort

    course.start()
    elsewhere.away = {"dev"}
    rollout = abort(FIRST, by="ada", why="enough", tracker=course.tracker)
    assert rollout.elsewhere == ["dev"]
    for seconds in (40, 80):
        course.drive(seconds)
    assert rollout.events.filter(kind="lagging", text__startswith="still on in dev").count() == 1

    elsewhere.away = set()
    course.drive(90)
    assert elsewhere.turned_off == []  # Half a minute has not passed.
    assert course.drive(111).elsewhere == []
    assert elsewhere.turned_off == ["dev"]


def test_a_rollback_whose_process_died_before_it_was_seen_off_is_confirmed_later(course):
    from mirroring.models import Rollout

    course.start()
    course.samples(6, 20, slots_leaked=1.0)
    assert course.drive(22).confirmed_at
    Rollout.objects.update(confirmed_at=None)

    assert course.drive(5).confirmed_at is None  # It may be at it still.
    assert course.drive(60).confirmed_at


def test_it_waits_aloud_where_somebody_else_has_begun_another_one_there(course, elsewhere):
    course.start()
    course.samples(6, 62)
    del elsewhere.states["dev"]

    assert "somebody has begun another rollout there" in course.drive(62).why
