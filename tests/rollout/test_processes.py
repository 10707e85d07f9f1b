"""Rollbacks and leases among real processes: a worker that heartbeats, beat that samples and drives."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.flow.processes import stack  # noqa: F401
from tests.making import repositories_folder, wait_until  # noqa: F401
from tests.rollout.making import GOOD
from tests.trial import FIRST

pytestmark = pytest.mark.django_db(transaction=True)
DUMMY = "{mirroring}:counters"


def seen(flag=FIRST):
    from mirroring.tracker.connection import connect

    return [worker.flags[flag] for worker in connect().workers() if flag in worker.flags]


def utc_now():
    return datetime.now(tz=UTC)


def baseline():
    from mirroring.models import MetricSample

    for seconds in range(60, 5, -5):
        at = utc_now() - timedelta(seconds=seconds)
        MetricSample.objects.create(at=at, seconds=5, values={**GOOD, "redis_calls": 1e6})


def start(**wanted):
    from mirroring.rollout.controller import Wanted
    from mirroring.rollout.controller import start as begin

    return begin(FIRST, Wanted(**wanted), by="tester", now=utc_now())


def test_a_breach_is_rolled_back_and_seen_off_by_every_process_within_five_seconds(stack, redis_client):  # noqa: F811
    from mirroring.models import Rollout

    stack.start("control", "scheduling", "beat")
    baseline()
    start(interval=timedelta(minutes=5))
    wait_until(lambda: seen() == [True, True], seconds=10, what="both workers see it on")

    def rolled_back():
        redis_client.hincrby(DUMMY, "repaired_slots", 1)
        return Rollout.objects.get().state == "rolled back"

    wait_until(rolled_back, seconds=60, what="the guard takes it back")
    wait_until(lambda: Rollout.objects.get().confirmed_at, seconds=15, what="every process confirms")
    rollout = Rollout.objects.get()

    assert rollout.rollback_seconds < 5
    assert seen() == [False, False]
    assert "slots_leaked" in rollout.why


def test_with_the_controller_killed_the_lease_ends_and_every_process_sees_it_off(stack):  # noqa: F811
    stack.start("scheduling", "imports", slots=1)
    baseline()
    start(interval=timedelta(seconds=4))
    wait_until(lambda: seen() == [True, True], seconds=7, what="both workers see it on")
    began = time.monotonic()

    # Nothing drives it: neither beat nor a control worker is there.
    wait_until(lambda: seen() == [False, False], seconds=12, what="both workers see it off")

    assert time.monotonic() - began < 11


def test_with_the_controller_killed_a_person_rolls_back_and_every_process_sees_it_off(stack):  # noqa: F811
    from mirroring.rollout import controller
    from mirroring.tracker.connection import connect

    stack.start("scheduling", "imports", slots=1)
    baseline()
    start(interval=timedelta(minutes=5))
    wait_until(lambda: seen() == [True, True], seconds=7, what="both workers see it on")

    controller.abort(FIRST, by="tester", why="", tracker=connect())

    wait_until(lambda: seen() == [False, False], seconds=15, what="both workers see it off")


def test_the_lease_ends_in_off_where_the_database_takes_no_writes(stack, read_only):  # noqa: F811
    from mirroring.flags.readings import read_all
    from mirroring.rollout import controller
    from mirroring.tracker.connection import connect

    stack.start("scheduling")
    baseline()
    start(interval=timedelta(seconds=3))
    with read_only():
        with pytest.raises(controller.RolloutRefused, match="no writes"):
            controller.abort(FIRST, by="tester", why="", tracker=connect())
        assert read_all()[FIRST]
        wait_until(lambda: not read_all()[FIRST], seconds=8, what="the lease ends")
    wait_until(lambda: seen() == [False], seconds=5, what="the worker sees it off")


@pytest.fixture
def read_only():
    """Return a context in which the database of this process takes no writes."""
    from contextlib import contextmanager

    from django.db import connection

    @contextmanager
    def switched():
        sqlite = connection.vendor == "sqlite"
        on = "PRAGMA query_only = 1" if sqlite else "SET default_transaction_read_only = on"
        off = "PRAGMA query_only = 0" if sqlite else "SET default_transaction_read_only = off"
        with connection.cursor() as cursor:
            cursor.execute(on)
        yield
        with connection.cursor() as cursor:
            cursor.execute(off)

    return switched
