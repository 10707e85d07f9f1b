"""Each row notices work that was not done: the faults are planted here."""

import subprocess
import sys
from datetime import timedelta
from random import Random
from types import SimpleNamespace

import pytest

from bench import enqueue, occupancy
from bench.harness import changes, upstreams
from bench.harness.machine import ROOT
from bench.harness.measure import Void

pytestmark = pytest.mark.one_database
JOBS = [(mirror, 1) for mirror in range(20)]


def send(jobs):
    from mirroring import publish
    from mirroring.tasks import project_import_schedule

    publish.publish(project_import_schedule, jobs, queue=enqueue.QUEUE)


@pytest.mark.parametrize("sent", [JOBS[:-1], [*JOBS, JOBS[0]], [*JOBS[:-1], JOBS[0]]])
def test_a_queue_that_does_not_hold_every_job_once_voids_the_enqueueing(sent, redis_client):
    place = SimpleNamespace(redis=redis_client)
    send(JOBS)
    enqueue.check(place, JOBS)
    redis_client.delete(enqueue.KEY)

    send(sent)

    with pytest.raises(Void):
        enqueue.check(place, JOBS)


def test_a_row_runs_as_a_command_and_writes_what_it_printed(tmp_path):
    command = [sys.executable, "-m", "bench.tracker", "--size", "smoke", "--out", str(tmp_path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "GitLab's script, one call a job" in done.stdout
    assert len((tmp_path / "tracker.jsonl").read_text().splitlines()) == 4


@pytest.fixture
def held(tracker):
    """Hold two importing slots."""
    for token in ("1:1", "2:1"):
        tracker.door(token, capacity=2, lease=timedelta(minutes=1))
    return tracker


@pytest.mark.django_db
def test_slots_beyond_the_cap_void_the_occupancy(held):
    with pytest.raises(Void, match="over a cap of 1"):
        occupancy.watch(held, occupancy.Trial(cap=1, seconds=0.1), None)


@pytest.mark.django_db
def test_a_backlog_that_ends_voids_the_occupancy(held):
    with pytest.raises(Void, match="the backlog ended"):
        occupancy.watch(held, occupancy.Trial(cap=2, seconds=0.1), None)


def test_the_share_of_slots_in_use_is_by_time_not_by_sample():
    seen = occupancy.Watched()
    seen.add(4, seconds=3)
    seen.add(0, seconds=1)

    assert seen.share(4) == 75


def test_a_change_that_a_sweep_missed_voids_it():
    heads = {0: "a", 1: "b"}
    served = upstreams.Served(
        ["u0", "u1"], push=lambda numbers: heads.update(dict.fromkeys(numbers, "new")), head=heads.get
    )
    fleet = changes.Changing(served, changed=0.01, dice=Random(1))
    seen = dict(heads)

    fleet.change_for(1)
    with pytest.raises(Void, match="1 mirrors are not as their upstreams; 1 changed"):
        fleet.require_found(seen.get)

    fleet.require_found(heads.get)


def test_every_contender_of_a_round_sees_the_same_changes():
    pushed: list[list[int]] = []
    fleet = changes.Changing(
        upstreams.Served(["u"] * 100, push=pushed.append, head=str), changed=0.1, dice=Random(1)
    )

    for turn in (1, 1, 2, 1, 2):
        fleet.change_for(turn)

    assert [len(numbers) for numbers in pushed] == [10, 10]
    assert pushed[0] != pushed[1]
