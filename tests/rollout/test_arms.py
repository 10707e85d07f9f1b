"""Flags by mirror and by host: the mirrors that have one are held against those that have it not, at the same time."""

from datetime import timedelta
from decimal import Decimal
from itertools import count

import pytest

from tests import trial
from tests.making import build_mirror
from tests.rollout.making import SHARED_BY_MIRROR, Course

pytestmark = pytest.mark.django_db
MIRRORS = 40
FIRST_ID = 1_000_000
"""The share that a mirror is in follows from its id: fixed ids, so that the arms are the same in every run."""

EFFECTS = """
effects:
  - {metric: import_failures, direction: at_most, bound: 1.5, kind: ratio}
  - {metric: import_seconds, direction: at_most, bound: 1.5, kind: ratio}
  - {metric: lag_seconds, direction: at_most, bound: 1.5, kind: ratio}
  - {metric: slots_leaked, direction: at_most, bound: 0, kind: level}
"""
epochs = count(1)


class Fleet:
    """Mirrors whose imports a test writes down, sampled and judged as by beat."""

    def __init__(self, course: Course, flag: str, mirrors: list) -> None:
        self.course, self.flag, self.mirrors = course, flag, mirrors

    def has(self, mirror, seconds: float) -> bool:
        """Ask as a job would."""
        from mirroring.flags.actors import Actor
        from mirroring.flags.readings import read

        by_host = self.flag.endswith("host")
        actor = Actor.of_host(mirror.host) if by_host else Actor.of_mirror(mirror)
        return read(self.flag, now=self.course.at(seconds)).is_on(actor)

    def having(self, seconds: float) -> set[int]:
        return {mirror.pk for mirror in self.mirrors if self.has(mirror, seconds)}

    def attempt(self, mirror, ended: float, *, failed: bool = False, spent: float = 1.0):
        from mirroring.models import ImportAttempt

        times = {"started_at": self.course.at(ended - spent), "ended_at": self.course.at(ended)}
        outcome = "transient" if failed else "unchanged"
        ImportAttempt.objects.create(mirror=mirror, epoch=next(epochs), worker="w", outcome=outcome, **times)

    def live(self, first: int, last: int, *, fails=lambda has: False, spent=lambda has: 1.0):
        """Let every mirror be imported once in five seconds; `fails` and `spent` are told whether it has the flag."""
        from mirroring.models import Rollout
        from mirroring.rollout import samples

        rollout = None
        for seconds in range(first, last, 5):
            having = self.having(seconds)
            for mirror in self.mirrors:
                has = mirror.pk in having
                self.attempt(mirror, seconds - 0.5, failed=fails(has), spent=spent(has))
            samples.take(now=self.course.at(seconds), tracker=self.course.tracker)
            rollout = self.course.drive(seconds)
            if not rollout.active:
                break
        return rollout or Rollout.objects.first()

    def verdicts(self) -> dict[str, str]:
        from mirroring.models import Rollout

        return {each["metric"]: each["verdict"] for each in Rollout.objects.first().judgements}


@pytest.fixture
def defined(settings, tmp_path):
    """Return a function that defines a flag by mirror or by host with all the guards that can be told by arm."""

    def define(actor: str) -> str:
        head, _, tail = SHARED_BY_MIRROR.partition("effects:")
        body = head + EFFECTS.strip() + tail[tail.index("\ncleanup_hook") :]
        name = f"shared_by_{actor}"
        text = body.replace("shared_by_mirror", name).replace("actor: mirror", f"actor: {actor}")
        (tmp_path / f"{name}.yml").write_text(text)
        settings.EXTRA_FLAG_DEFINITIONS = (str(trial.FOLDER), str(tmp_path))
        return name

    return define


@pytest.fixture
def fleet(course, defined) -> Fleet:
    """Forty mirrors on eight hosts, none of them due, and a flag by mirror."""
    later = course.at(86_400)
    mirrors = [
        build_mirror(
            url=f"https://git-{number % 8}.example.org/p-{number}.git",
            mirror={"pk": FIRST_ID + number},
            next_execution_at=later,
        )
        for number in range(MIRRORS)
    ]
    return Fleet(course, defined("mirror"), mirrors)


def in_share(flag: str, mirror, percentage: str) -> bool:
    from mirroring.flags.actors import Actor, within_share

    return within_share(flag, Actor.of_mirror(mirror), Decimal(percentage))


def start(fleet, *steps, interval=60, **wanted):
    return fleet.course.start(fleet.flag, steps=steps, interval=interval, **wanted)


def test_what_fails_only_where_the_flag_is_on_is_taken_back(fleet):
    start(fleet, "25", "100")
    rollout = fleet.live(10, 60, fails=lambda has: has)

    assert rollout.state == "rolled back"
    assert "import_failures" in rollout.why
    assert "mirrors without it, at the same time" in rollout.why
    assert fleet.having(61) == set()


def test_what_fails_everywhere_at_once_is_not_blamed_on_the_flag(fleet):
    """Before the rollout nothing failed, and now the upstreams are down: before and after would blame the flag."""
    start(fleet, "25", "50")
    rollout = fleet.live(10, 60, fails=lambda has: True)

    assert rollout.state == "running"
    assert fleet.verdicts()["import_failures"] == "good"


def test_arms_of_different_sizes_are_compared_by_mirror(fleet):
    """One in three fails on either side: the smaller arm has fewer failures and is no better."""
    start(fleet, "25", "50")
    flip = count()
    fleet.live(10, 60, fails=lambda has: next(flip) % 3 == 0)
    from mirroring.models import Rollout

    [said] = [each for each in Rollout.objects.get().judgements if each["metric"] == "import_failures"]
    assert said["verdict"] == "good"
    assert said["baseline"] < MIRRORS / 6, "scaled to the size of the arm that has it"


def test_a_mirror_that_goes_on_failing_is_counted_once(fleet):
    from mirroring.models import MetricSample

    start(fleet, "50", "100")
    fleet.live(10, 21, fails=lambda has: True)
    told = [
        row.arms[fleet.flag] for row in MetricSample.objects.filter(seconds__gt=0).order_by("at") if row.arms
    ]

    failures = [look["on"]["import_failures"] + look["off"]["import_failures"] for look in told]
    assert failures == [MIRRORS, 0, 0]


def test_imports_that_take_longer_where_it_is_on_take_it_back(fleet):
    start(fleet, "50", "100")
    rollout = fleet.live(15, 60, spent=lambda has: 4.0 if has else 1.0)

    assert rollout.state == "rolled back"
    assert "import_seconds" in rollout.why


def test_mirrors_that_wait_longer_where_it_is_on_take_it_back(fleet):
    from mirroring.models import ImportState

    start(fleet, "50", "100")
    having = fleet.having(1)
    for mirror in fleet.mirrors:
        due = fleet.course.at(-300 if mirror.pk in having else -20)
        ImportState.objects.filter(pk=mirror.pk).update(next_execution_at=due, import_due_at=due)
    rollout = fleet.live(10, 60)

    assert rollout.state == "rolled back"
    assert "lag_seconds" in rollout.why


def test_what_no_arm_has_for_itself_is_held_against_before(fleet):
    start(fleet, "50", "100")
    fleet.live(10, 30)
    fleet.course.tracker.note("repaired_slots", 3)
    rollout = fleet.live(30, 60)

    assert rollout.state == "rolled back"
    assert "slots_leaked" in rollout.why


def test_good_arms_bring_it_to_everybody_and_nobody_loses_it_on_the_way(fleet):
    start(fleet, "10", "50", "100", interval=30)
    had: set[int] = set()
    for seconds in range(10, 200, 30):
        rollout = fleet.live(seconds, seconds + 30)
        assert had <= fleet.having(seconds + 29)
        had = fleet.having(seconds + 29)

    assert rollout.state == "done"
    assert len(had) == MIRRORS


def test_the_arms_are_those_that_a_job_sees(fleet):
    from mirroring.models import Rollout
    from mirroring.rollout import arms

    start(fleet, "25", "100")
    split = arms.split_of(Rollout.objects.get(), now=fleet.course.at(1))
    having = {
        mirror.pk
        for mirror in fleet.mirrors
        if split.side((mirror.pk, mirror.group.name, mirror.host.name)) == arms.ON
    }

    assert having == fleet.having(1)
    assert Rollout.objects.get().arm_sizes == {"on": len(having), "off": MIRRORS - len(having)}


def test_a_flag_by_host_has_all_mirrors_of_a_host_in_one_arm(fleet, defined):
    from mirroring.models import Rollout

    fleet.flag = defined("host")
    start(fleet, "50", "100")
    having = fleet.having(1)

    hosts = {mirror.host.name: mirror.pk in having for mirror in fleet.mirrors}
    assert all(hosts[mirror.host.name] is (mirror.pk in having) for mirror in fleet.mirrors)
    assert 0 < sum(hosts.values()) < len(hosts)
    assert Rollout.objects.get().arm_sizes["on"] == len(having)
    assert fleet.live(10, 60, fails=lambda has: has).state == "rolled back"


def test_too_few_imports_hold_it_until_there_are_enough(fleet):
    start(fleet, "50", "100", interval=30)
    everybody, fleet.mirrors = fleet.mirrors, []
    for seconds in range(10, 60, 5):
        rollout = fleet.live(seconds, seconds + 5)
    assert rollout.state == "held"
    assert fleet.verdicts()["import_failures"] == "too_few"

    fleet.mirrors = everybody
    rollout = fleet.live(60, 70)
    assert (rollout.state, rollout.step) == ("running", 1)


def test_a_share_that_no_mirror_is_in_is_left_after_its_interval(fleet):
    from mirroring.models import Mirror

    outside = next(mirror for mirror in fleet.mirrors if not in_share(fleet.flag, mirror, "1"))
    Mirror.objects.exclude(pk=outside.pk).update(deleted_at=fleet.course.at(0))
    fleet.mirrors = [outside]
    rollout = start(fleet, "1", "100", interval=30)
    assert rollout.arm_sizes["on"] == 0

    assert fleet.live(10, 40).step == 1


def test_where_everybody_has_it_the_arm_is_held_against_before(fleet):
    start(fleet, "100", interval=30)
    rollout = fleet.live(10, 31, fails=lambda has: True)

    assert rollout.state == "rolled back", "nothing failed before the rollout"


def test_imports_that_began_before_the_step_count_for_no_arm(fleet):
    from mirroring.models import MetricSample
    from mirroring.rollout import samples

    start(fleet, "50", "100")
    for mirror in fleet.mirrors:
        fleet.attempt(mirror, 4, failed=True, spent=10)
    samples.take(now=fleet.course.at(5), tracker=fleet.course.tracker)

    told = MetricSample.objects.order_by("-at").first().arms[fleet.flag]
    assert (told["on"]["imports"], told["off"]["imports"]) == (0, 0)


def test_a_shadow_rollout_judges_those_who_would_have_it(fleet):
    rollout = start(fleet, "50", "100", shadow=True)

    assert 0 < rollout.arm_sizes["on"] < MIRRORS
    assert fleet.having(1) == set()
    fleet.live(10, 40)
    assert fleet.verdicts()["import_failures"] == "good"


def test_of_many_mirrors_a_part_tells_how_large_the_arms_are(fleet, monkeypatch):
    from mirroring.models import Rollout
    from mirroring.rollout import arms

    monkeypatch.setattr(arms, "COUNTED", 10)
    start(fleet, "50", "100")
    sizes = Rollout.objects.get().arm_sizes

    assert sizes["on"] + sizes["off"] == pytest.approx(MIRRORS, abs=4)
    assert sizes["on"] % 4 == sizes["off"] % 4 == 0


def test_the_mirrors_that_wait_longest_tell_how_long_the_other_arm_has_waited_at_most(fleet, monkeypatch):
    from mirroring.models import ImportState, Rollout
    from mirroring.rollout import arms

    start(fleet, "50", "100")
    having = fleet.having(1)
    for number, mirror in enumerate(fleet.mirrors):
        due = fleet.course.at(-1000 + number if mirror.pk in having else -30)
        ImportState.objects.filter(pk=mirror.pk).update(next_execution_at=due, import_due_at=due)
    monkeypatch.setattr(arms, "LOOKED_AT", 5)
    split = arms.split_of(Rollout.objects.get(), now=fleet.course.at(1))
    lags = arms._lags(split, now=fleet.course.at(1) + timedelta(seconds=1))

    assert lags["off"] <= lags["on"]
    assert lags["off"] > 900, "none of its mirrors is among the five: this is all that is known"
