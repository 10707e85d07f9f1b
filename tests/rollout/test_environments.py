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
