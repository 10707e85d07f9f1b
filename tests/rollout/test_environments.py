"""A rollout through other environments. The way there is a double of ours: chatops has the real one, with its tests."""

import pytest

from tests.trial import FIRST

pytestmark = pytest.mark.django_db


class Elsewhere:
    def __init__(self):
        self.states, self.started, self.turned_off = {}, [], []

    def names(self):
        return ["dev", "staging"]

    def start(self, environment, flag, *, interval, by):
        self.started.append(environment)
        self.states[environment] = "running"

    def state(self, environment, flag):
        from mirroring.models import RolloutState

        return RolloutState(self.states[environment])

    def turn_off(self, environment, flag, *, by, why):
        self.turned_off.append(environment)


@pytest.fixture
def elsewhere():
    from mirroring.rollout import environments

    made = Elsewhere()
    environments.register(lambda: made)
    yield made
    environments.register(environments.NoEnvironments)


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
