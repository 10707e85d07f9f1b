"""What a simulation says of a flag: the second of the tracker."""  # goes with update_all_mirrors_job_tracker

import subprocess
import sys

import pytest
from django.conf import settings

from mirroring.flags.registry import FlagName
from mirroring.rollout.guards import Verdict

pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("simulate")]


def load(**changes):
    from mirroring.rollout.simulate.load import SLOW_QUEUE, Load

    return Load(settings=SLOW_QUEUE, **{"seconds": 120, "mirrors": 150, **changes})


@pytest.fixture(scope="module")
def product(django_db_blocker):
    return simulated(django_db_blocker)


@pytest.fixture(scope="module")
def attempt(django_db_blocker):
    return simulated(django_db_blocker, arm="count-at-start")


def simulated(blocker, **kwargs):
    from mirroring.rollout.simulate.arms import simulate

    with blocker.unblock():
        return simulate(FlagName.UPDATE_ALL_MIRRORS_JOB_TRACKER, load(), **kwargs)


def verdicts(simulation, metric):
    return {each.verdict for each in simulation.judgements if each.guard.metric == metric}


def test_the_product_over_schedules_with_the_flag_off_and_never_with_it_on(product):
    from mirroring.rollout.simulate.report import summary

    assert summary(product.off)["over_scheduled"] > 0
    assert summary(product.on)["over_scheduled"] == 0
    assert product.bad == []


def test_counting_jobs_at_their_start_is_flagged(attempt):
    from mirroring.rollout.simulate.report import as_json, as_text

    assert verdicts(attempt, "over_scheduled") == {Verdict.BAD}
    assert verdicts(attempt, "slots_leaked") == {Verdict.BAD}
    assert not as_json(attempt)["ok"]
    assert "FLAGGED" in as_text(attempt)


def test_both_arms_begin_with_the_flag_off_alike(product, attempt):
    assert product.off == attempt.off


def test_the_product_s_own_counter_agrees_with_the_log_of_events(product):
    """What the sampler sees of the service is what really happened in it."""
    from mirroring.rollout.simulate.report import summary

    told = summary(product.off)
    assert 0.8 <= told["over_scheduled_counted"] / told["over_scheduled"] <= 1.2
    assert summary(product.on)["over_scheduled_counted"] == 0


def test_a_simulation_touches_nothing_of_the_service(redis_client, attempt):
    from django.db import connections

    from mirroring.flags.models import Flag
    from mirroring.models import ImportState

    assert redis_client.dbsize() == 0
    assert not ImportState.objects.exists()
    assert not Flag.objects.exists()
    assert "simulation" not in connections


def test_recorded_load_is_what_the_service_has_seen(make_mirror, configure):
    from datetime import timedelta

    from mirroring.models import ImportAttempt
    from mirroring.rollout.simulate.load import Load, recorded
    from tests.making import NOW

    configure(mirror_max_capacity=7, tick_seconds=33)
    mirror = make_mirror()
    for epoch, outcome in enumerate(["changed", "gone"]):
        ImportAttempt.objects.create(
            mirror=mirror,
            epoch=epoch,
            worker="w",
            started_at=NOW,
            ended_at=NOW + timedelta(seconds=4),
            outcome=outcome,
        )
    made = recorded(Load())

    assert (made.mirrors, made.capacity, list(made.durations), made.failing) == (1, 7, [4.0, 4.0], 0.5)
    assert made.settings["tick_seconds"] == 33


@pytest.mark.django_db(transaction=True)
def test_the_command_ends_with_one_where_something_speaks_against_it(child_environment):
    words = ["simulate", FlagName.UPDATE_ALL_MIRRORS_JOB_TRACKER, "--arm", "count-at-start"]
    done = subprocess.run(
        [sys.executable, "manage.py", "feature", *words, "--mirrors", "150", "--seconds", "120"],
        cwd=settings.BASE_DIR,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 1
    assert "simulate FLAGGED: " in done.stderr
