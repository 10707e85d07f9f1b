"""The leash kills the git processes of a worker that cannot do it itself."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from mirroring.upstream.git.leash import HOLDER, Leash
from tests.making import wait_until


@pytest.fixture
def start_group():
    """Return a function that starts a process group which would run for a day."""
    started = []

    def start(script="trap '' TERM; sleep 86400 & sleep 86400"):
        started.append(subprocess.Popen(["sh", "-c", script], start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def leash():
    leash = Leash()
    yield leash
    if holder := leash._holder:
        holder.kill()
        holder.communicate()


def group_lives(group):
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if words[2] == str(group) and words[0] not in "ZX":
                return True
    return False


def test_a_group_is_killed_when_the_deadline_passes_without_a_renewal(leash, start_group):
    leash.start(life=timedelta(seconds=0.5))
    group = start_group()

    with leash.holding(group.pid):
        wait_until(lambda: not group_lives(group.pid), seconds=10)


def test_a_renewal_moves_the_deadline(leash, start_group):
    leash.start(life=timedelta(seconds=0.6))
    group = start_group()

    with leash.holding(group.pid):
        leash.extend(since=time.monotonic(), life=timedelta(seconds=60))
        time.sleep(1.2)
        assert group_lives(group.pid)


def test_a_group_that_was_let_go_is_left_alone(leash, start_group):
    leash.start(life=timedelta(seconds=0.5))
    group = start_group()
    with leash.holding(group.pid):
        pass

    time.sleep(1.0)

    assert group_lives(group.pid)


def test_a_group_that_starts_after_the_deadline_is_killed_too(leash, start_group):
    leash.start(life=timedelta(seconds=0.1))
    time.sleep(0.4)
    group = start_group()

    with leash.holding(group.pid):
        wait_until(lambda: not group_lives(group.pid), seconds=10)


def test_the_groups_of_a_worker_that_was_killed_die_with_it(start_group):
    group = start_group()
    script = (
        "import sys, time; from datetime import timedelta; from mirroring.upstream.git.leash import Leash; "
        "leash = Leash(); leash.start(life=timedelta(hours=1)); "
        f"held = leash.holding({group.pid}); held.__enter__(); print('held', flush=True); time.sleep(3600)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as worker:
        assert worker.stdout.readline() == b"held\n"
        worker.kill()

    wait_until(lambda: not group_lives(group.pid), seconds=10)


def test_the_holder_outlives_the_signals_that_end_a_worker(leash, start_group):
    leash.start(life=timedelta(hours=1))
    time.sleep(0.5)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(leash.pid, number)
    group = start_group()

    with leash.holding(group.pid):
        time.sleep(0.3)
        os.kill(leash.pid, 0)
        assert group_lives(group.pid)


def test_a_holder_that_died_is_replaced_at_the_next_renewal_and_knows_what_is_held(leash, start_group):
    leash.start(life=timedelta(hours=1))
    group = start_group()
    with leash.holding(group.pid):
        first = leash.pid
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: _holder_is_gone(leash), seconds=5)

        leash.extend(since=time.monotonic(), life=timedelta(seconds=0.5))

        assert leash.pid != first
        wait_until(lambda: not group_lives(group.pid), seconds=10)


def _holder_is_gone(leash):
    return leash._holder.poll() is not None


def test_a_number_that_now_belongs_to_somebody_else_is_not_killed(start_group):
    group = start_group()
    orders = f"+ {group.pid}\n".encode()
    with subprocess.Popen([sys.executable, "-I", "-S", str(HOLDER)], stdin=subprocess.PIPE) as holder:
        holder.stdin.write(b"! 1e12\n+ 999999999\n" + orders)
        holder.stdin.flush()
        time.sleep(0.5)
        assert group_lives(group.pid)
    wait_until(lambda: not group_lives(group.pid), seconds=5)


def test_a_leash_that_was_never_started_does_nothing(leash, start_group):
    group = start_group()

    with leash.holding(group.pid):
        leash.extend(since=0.0, life=timedelta(0))

    assert leash.pid is None
    assert group_lives(group.pid)
