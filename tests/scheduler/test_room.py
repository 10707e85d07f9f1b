"""Below the floor of its disk a worker takes no imports, says why, and takes them again when there is room."""

import pytest

from mirroring.scheduler.explain import Verdict, explain
from mirroring.scheduler.heartbeat import Heart, InFlight
from mirroring.upstream.git import bounds
from tests.making import NOW, build_mirror

pytestmark = pytest.mark.django_db


@pytest.fixture
def disk(monkeypatch):
    usage = type("Usage", (), {"total": 100 << 30, "free": 50 << 30})
    monkeypatch.setattr(bounds.shutil, "disk_usage", lambda path: usage)
    return usage


@pytest.fixture
def heart(lost_tracker):
    lost_tracker.rebuild(processing=[], importing=[])
    return Heart(name="imports@here", slots=8, tracker=lost_tracker, in_flight=InFlight())


def slots(heart):
    return heart.tracker.counts(max_capacity=100).slots


def test_a_worker_announces_slots_only_while_its_disk_has_room(heart, disk):
    heart.beat()
    assert slots(heart) == 8
    disk.free = 1 << 20
    heart.beat()
    assert slots(heart) == 0
    disk.free = 50 << 30
    heart.beat()
    assert slots(heart) == 8


def test_the_explanation_says_that_the_disk_is_short_and_what_to_do(heart, disk):
    mirror = build_mirror()
    disk.free = 1 << 20
    heart.beat()

    told = explain(mirror, tracker=heart.tracker, now=NOW)

    assert told.verdict is Verdict.HELD_BACK
    assert "1 MB of the disk of the mirrors are free" in told.reason
    assert "disk_floor_mb" in told.act


def test_a_worker_that_imports_nothing_does_not_look_at_the_disk(lost_tracker, disk):
    lost_tracker.rebuild(processing=[], importing=[])
    disk.free = 0
    heart = Heart(name="control@here", slots=0, tracker=lost_tracker, in_flight=InFlight())
    heart.beat()

    assert [worker.trouble for worker in lost_tracker.workers()] == [""]
