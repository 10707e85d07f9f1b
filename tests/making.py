"""Rows, trackers and repositories for the tests of the core. A conftest takes the fixtures that it needs from here."""

import itertools
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from tests.lab import fast_import

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LEASE = timedelta(seconds=60)

PROVEN = 1_000_000
"""Slots of a host that has long earned all that it may have."""

_numbers = itertools.count(1)


@pytest.fixture
def make_mirror(db) -> Callable[..., object]:
    """Return a function that makes a mirror, due since a minute before NOW; keywords set fields of its state."""
    return build_mirror


def build_mirror(
    name: str = "", *, url: str = "https://git.example.org/team/project.git", mirror=None, **state
):
    from mirroring.models import Group, Host, ImportState, Mirror
    from mirroring.upstream.policy import urls

    host, _ = Host.objects.get_or_create(name=urls.parse(url).host, defaults={"slots": PROVEN})
    group, _ = Group.objects.get_or_create(name="default")
    made = Mirror.objects.create(
        group=group, host=host, name=name or f"mirror-{next(_numbers)}", url=url, **(mirror or {})
    )
    state.setdefault("next_execution_at", NOW - MINUTE)
    waits = state.get("claim_expires_at") or state.get("hard_failed") or not state.get("active", True)
    state.setdefault("last_successful_update_at", NOW - timedelta(days=1))
    state.setdefault("import_due_at", None if waits else state["next_execution_at"])
    ImportState.objects.create(mirror=made, host=host, **state)
    return made


def state_of(mirror):
    from mirroring.models import ImportState

    return ImportState.objects.get(pk=mirror.pk)


def claim_of(mirror):
    return state_of(mirror).claim


@pytest.fixture
def configure(db) -> Callable[..., object]:
    """Return a function that changes the scheduling settings."""

    def change(**values):
        from mirroring.models import SchedulingSettings

        row = SchedulingSettings.current()
        for name, value in values.items():
            setattr(row, name, value)
        row.save()
        return row

    return change


@pytest.fixture(scope="session")
def new_tracker(valkey: str) -> Iterator[Callable[[], object]]:
    """Return a function that opens another connection to the job tracker."""
    from mirroring.tracker.job_tracker import JobTracker

    clients: list[redis.Redis] = []

    def connect():
        clients.append(redis.Redis.from_url(valkey, decode_responses=True))
        return JobTracker(clients[-1])

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def lost_tracker(new_tracker):
    """A tracker whose server has just lost its memory: nothing has been rebuilt."""
    return new_tracker()


@pytest.fixture
def tracker(lost_tracker):
    """A ready tracker with one worker that announces a hundred slots."""
    lost_tracker.rebuild(processing=[], importing=[])
    announce(lost_tracker, slots=100)
    return lost_tracker


def announce(tracker, *, slots: int, name: str = "worker", life: timedelta = timedelta(hours=1)):
    return tracker.announce(name, slots=slots, flags={}, life=life)


@pytest.fixture
def repositories_folder(tmp_path: Path, settings) -> Path:
    """Where mirrors are kept during this test."""
    folder = tmp_path / "repositories"
    settings.REPOSITORIES_DIR = folder
    return folder


def git(path: Path, *arguments: str, check: bool = True) -> str:
    """Run git in a repository, as a reader would, and return its output."""
    done = subprocess.run(
        ["git", f"--git-dir={path}", *arguments], env=fast_import.ENVIRONMENT, capture_output=True
    )
    if check and done.returncode:
        raise AssertionError(f"git {arguments}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="surrogateescape")


def refs_of(path: Path, *patterns: str) -> dict[str, str]:
    """Return the refs of a repository as git sees them."""
    lines = git(path, "for-each-ref", "--format=%(objectname) %(refname)", *patterns).split("\n")
    return {name: oid for oid, _, name in (line.partition(" ") for line in lines if line)}


def heads_and_tags(path: Path) -> dict[str, str]:
    return refs_of(path, "refs/heads", "refs/tags")


def loose_refs(path: Path) -> list[Path]:
    return [file for file in (path / "refs").rglob("*") if file.is_file()]


def wait_until(claim: Callable[[], object], *, seconds: float, what: str = "") -> None:
    """Wait until `claim` holds, or fail."""
    import time

    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or claim}"
        time.sleep(0.02)
