"""Git processes that a killed worker left behind on this machine."""

import signal
import subprocess
from pathlib import Path

import pytest

from mirroring.scheduler.janitor import kill_orphans
from mirroring.upstream.disk.repository import Repository
from mirroring.upstream.git.process import StopHandle
from tests.making import LEASE, NOW, wait_until

UNTIL = NOW + LEASE


@pytest.fixture
def start_git(repositories_folder):
    """Return a function that starts a git process on the staging folder of an epoch, which waits for input."""
    started = []

    def start(mirror, epoch, *, folder=None):
        repository = Repository(folder or mirror.repository)
        repository.make(stop=StopHandle())
        staging = repository.stage(epoch)
        command = ["git", f"--git-dir={staging}", "cat-file", "--batch"]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True))
        # A parent goes on a moment before the kernel has put the new command line in place.
        words = Path(f"/proc/{started[-1].pid}/cmdline")
        wait_until(lambda: b"cat-file" in words.read_bytes(), seconds=10)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_git_that_works_for_a_row_in_flight_is_left_alone(make_mirror, start_git):
    mirror = make_mirror(status="started", epoch=3, claim_expires_at=UNTIL)
    process = start_git(mirror, 3)

    assert kill_orphans() == 0
    assert process.poll() is None


@pytest.mark.parametrize(
    "state",
    [
        {"status": "started", "epoch": 4, "claim_expires_at": UNTIL},
        {"status": "failed", "epoch": 3},
        {"epoch": 3, "claim_expires_at": UNTIL},
    ],
    ids=["a newer import runs", "given up", "claimed, not started"],
)
def test_git_that_works_for_nobody_is_killed(make_mirror, start_git, state):
    process = start_git(make_mirror(**state), 3)

    assert kill_orphans() == 1
    assert process.wait(10) == -signal.SIGKILL


def test_its_whole_group_is_killed(make_mirror, start_git, repositories_folder):
    mirror = make_mirror(status="failed", epoch=3)
    start_git(mirror, 3)
    staging = Repository(mirror.repository).staging(3)
    group = subprocess.Popen(
        ["sh", "-c", f"sleep 86400 & git --git-dir={staging} cat-file --batch"],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    wait_until(lambda: members(group.pid) == ["git", "sh", "sleep"], seconds=10)

    kill_orphans()

    group.communicate()
    wait_until(lambda: members(group.pid) == [], seconds=10)


def members(group):
    """Return the names of the processes of a group that run."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            except OSError:
                continue
            words = rest.split()
            if words[2] == str(group) and words[0] not in "ZX":
                found.append(name)
    return sorted(found)


def test_git_of_another_storage_is_none_of_our_business(
    make_mirror, start_git, repositories_folder, tmp_path
):
    mirror = make_mirror(status="failed", epoch=3)
    other = tmp_path / "repositories-old" / "ab" / "cd" / mirror.repository.name
    process = start_git(mirror, 3, folder=other)

    assert kill_orphans() == 0
    assert process.poll() is None
