"""Leases end by one clock, that of the Redis server, whatever the wall clock of a process says, also without Redis."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings

from mirroring.flags import clock
from mirroring.flags.readings import read_all
from mirroring.stack import valkey
from tests.making import wait_until
from tests.trial import FIRST

ROOT = Path(__file__).resolve().parents[2]
WRONG = ROOT / "tests" / "acceptance" / "chaos" / "wrong_clock"
READER = """
import sys, django
django.setup()
from mirroring.flags.readings import read_all
print(read_all()[sys.argv[1]], flush=True)
for line in sys.stdin:
    print(read_all()[sys.argv[1]], flush=True)
"""
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(tmp_path):
    """A Redis of this test's own, which it may take down."""
    running = valkey.start(tmp_path / "v")
    yield running
    valkey.stop(running)


@pytest.fixture
def reader(child_environment, server):
    """Start a process that reads a flag once, and again for each line that it is sent."""
    started = []

    def start(*, wrong_by: int):
        path = os.pathsep.join([str(WRONG), str(ROOT)])
        environment = child_environment(
            DJANGO_SETTINGS_MODULE="config.settings",
            PYTHONPATH=path,
            WRONG_CLOCK_SECONDS=str(wrong_by),
            REDIS_URL=server.url,
        )
        command = [sys.executable, "-c", READER, FIRST]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def reads(process, *, first: bool = False) -> bool:
    if not first:
        process.stdin.write("again\n")
    return process.stdout.readline() == "True\n"


@pytest.mark.parametrize("wrong_by", [-3600, 3600])
def test_a_wrong_wall_clock_neither_ends_a_lease_early_nor_keeps_a_flag_on(turn, reader, wrong_by):
    turn(FIRST, True, on_until=datetime.now(tz=UTC) + timedelta(seconds=60))
    process = reader(wrong_by=wrong_by)
    assert reads(process, first=True)

    turn(FIRST, False)
    turn(FIRST, True, on_until=datetime.now(tz=UTC) + timedelta(seconds=1))

    wait_until(lambda: not reads(process), seconds=5, what="the lease ends")


def test_without_redis_a_lease_ends_by_the_clock_as_it_was_last_told(turn, reader, server):
    turn(FIRST, True, on_until=datetime.now(tz=UTC) + timedelta(seconds=60))
    process = reader(wrong_by=-3600)
    assert reads(process, first=True)
    valkey.stop(server)

    assert reads(process)
    turn(FIRST, False)
    turn(FIRST, True, on_until=datetime.now(tz=UTC) + timedelta(seconds=1))
    wait_until(lambda: not reads(process), seconds=5, what="the lease ends")


def test_a_process_that_has_never_learnt_the_time_believes_no_lease(turn, reader, server):
    turn(FIRST, True, on_until=datetime.now(tz=UTC) + timedelta(seconds=60))
    valkey.stop(server)
    process = reader(wrong_by=0)

    assert not reads(process, first=True)
    turn(FIRST, True)
    assert reads(process), "on for good needs no clock"


def test_the_common_time_is_that_of_the_redis_server(tracker):
    assert abs((clock.now() - tracker.now()).total_seconds()) < 1
    assert settings.REDIS_URL
    assert read_all()[FIRST] is False


def test_turning_off_waits_for_nobody_to_tell_the_time(turn, monkeypatch):
    def asked():
        raise AssertionError("the time was asked for")

    turn(FIRST, True)
    monkeypatch.setattr(clock, "_sources", [asked])

    turn(FIRST, False)
