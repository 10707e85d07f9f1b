"""Samples and rollouts for the tests. Times are offsets from now: the flags read this machine's clock."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import redis

from tests.trial import FIRST

GOOD = {
    "redis_round_trips": 20.0,
    "redis_round_trips_per_mirror": 4.0,
    "redis_calls": 100.0,
    "redis_calls_per_mirror": 20.0,
    "over_scheduled": 0.0,
    "bounced": 0.0,
    "import_failures": 0.0,
    "import_seconds": 1.0,
    "lag_seconds": 1.0,
    "capacity_used": 0.5,
    "slots_leaked": 0.0,
    "queue_delay_seconds": 0.1,
}
SHARED_BY_MIRROR = """
name: shared_by_mirror
description: A flag by mirror, for tests.
type: ops
owner: {team: T, contact: "@t", channel: "#t"}
introduced_by: a test
milestone: "0.1"
rollout_issue: none
default: false
actor: mirror
requires: null
effects:
  - {metric: import_failures, direction: at_most, bound: 1.5, kind: ratio}
cleanup_hook: null
intended_end: "0.3"
"""


@dataclass
class Course:
    """One rollout as a test goes through it: seconds count from its start."""

    tracker: object
    base: datetime = field(default_factory=lambda: datetime.now(tz=UTC))

    def at(self, seconds: float) -> datetime:
        return self.base + timedelta(seconds=seconds)

    def sample(self, seconds: float, errors=None, **values: float):
        from mirroring.models import MetricSample

        return MetricSample.objects.create(
            at=self.at(seconds), seconds=5, values={**GOOD, **values}, errors=errors or {}
        )

    def samples(self, first: int, last: int, **values: float) -> None:
        for seconds in range(first, last, 5):
            self.sample(seconds, **values)

    def start(self, flag: str = FIRST, seconds: float = 0, interval: float = 60, **wanted):
        from mirroring.rollout.controller import Wanted, start

        made = Wanted(interval=timedelta(seconds=interval), **wanted)
        return start(flag, made, by="tester", now=self.at(seconds))

    def drive(self, seconds: float):
        from mirroring.models import Rollout
        from mirroring.rollout.driving import drive_all

        drive_all(now=self.at(seconds), tracker=self.tracker)
        return Rollout.objects.first()

    def on(self, flag: str = FIRST, seconds: float = 0) -> bool:
        from mirroring.flags.readings import read_all

        return read_all(self.at(seconds))[flag]


@pytest.fixture
def course(db, tracker) -> Course:
    """A course whose baseline is there: a minute of good samples."""
    made = Course(tracker)
    made.samples(-60, 0)
    return made


@pytest.fixture
def heard() -> list:
    """What is announced during the test."""
    from mirroring.rollout import announcing

    said: list = []
    announcing.subscribe(said.append)
    yield said
    announcing.unsubscribe(said.append)


@pytest.fixture
def by_mirror(settings, tmp_path) -> str:
    """The name of a flag that is read for each mirror."""
    (tmp_path / "shared_by_mirror.yml").write_text(SHARED_BY_MIRROR)
    settings.EXTRA_FLAG_DEFINITIONS += (str(tmp_path),)
    return "shared_by_mirror"


@pytest.fixture
def away() -> object:
    """A tracker whose Redis is gone."""
    from mirroring.tracker.job_tracker import JobTracker

    return JobTracker(redis.Redis(unix_socket_path="/nowhere", decode_responses=True, retry=None))


class Elsewhere:
    """Other environments, as a rollout knows them. The way there is a double of ours: chatops has the real one."""

    def __init__(self):
        self.states, self.started, self.turned_off = {}, [], []
        self.away: set[str] = set()
        self.meanwhile: Callable[[], object] = lambda: None
        """What happens while they are asked; once at a time."""

    def _asked(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        self.meanwhile = meanwhile

    def names(self):
        return ["dev", "staging"]

    def start(self, environment, flag, *, interval, mark):
        self.started.append(environment)
        self.states[environment] = "running"
        self._asked()

    def state(self, environment, flag, *, mark):
        from mirroring.models import RolloutState

        self._asked()
        return RolloutState(self.states[environment]) if environment in self.states else None

    def turn_off(self, environment, flag, *, mark, by, why):
        from mirroring.rollout.environments import EnvironmentRefused

        if environment in self.away:
            raise EnvironmentRefused(f"{environment}: it does not answer")
        self.turned_off.append(environment)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Two environments before this one."""
    from mirroring.rollout import environments

    made = Elsewhere()
    environments.register(lambda: made)
    yield made
    environments.register(environments.NoEnvironments)


Announced = Callable[..., list]
