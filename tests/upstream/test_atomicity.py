"""Readers see all refs of an update at one instant, and a killed import leaves the old ones."""

import contextlib
import json
import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.git.process import GitError, StopHandle, Stopped
from tests.lab import fast_import
from tests.lab.fast_import import Stream
from tests.making import git, heads_and_tags, loose_refs, refs_of, wait_until
from tests.upstream.children import child, forked

BRANCHES = 200
COMMITS = 60
ROUNDS = [6, pytest.param(40, marks=[pytest.mark.long, pytest.mark.timeout(600)])]


@pytest.fixture
def moving(tmp_path):
    """An upstream of 200 branches which all point at one commit; `moving.to(n)` lets all point at the nth."""
    return Moving(tmp_path / "moving.git")


class Moving:
    def __init__(self, path):
        self.path = path
        stream = Stream(random.Random(1))
        mark = ()
        for _ in range(COMMITS):
            mark = (stream.commit("refs/heads/b000", files={"f": stream.text()}, parents=mark),)
        fast_import.make_bare(path, head="b000")
        fast_import.feed(path, stream)
        self.commits = git(path, "rev-list", "--reverse", "b000").split()
        fast_import.run(path, "pack-refs", "--all")

    def to(self, number):
        oid = self.commits[number % COMMITS]
        lines = [f"{oid} refs/heads/b{branch:03}\n" for branch in range(BRANCHES)]
        draft = self.path / "draft"
        draft.write_text("# pack-refs with: peeled fully-peeled sorted \n" + "".join(lines))
        draft.rename(self.path / "packed-refs")
        return oid


def test_readers_never_see_the_refs_of_two_updates_at_once(moving, git_server, bring, repository):
    moving.to(0)
    bring(git_server.add("moving", moving.path))
    git(repository.path, "fetch", "--quiet", str(moving.path), "b000")

    def swap(number):
        staging = repository.stage(number)
        shutil.copyfile(moving.path / "packed-refs", staging / "packed-refs")
        repository.publish(number, still_ours=lambda: True)
        time.sleep(0.01)

    watched(repository, moving, swap=swap, swaps=100)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_readers_never_see_the_refs_of_two_imports_at_once(moving, git_server, bring, repository):
    url = git_server.add("moving", moving.path)
    moving.to(0)
    bring(url)

    watched(repository, moving, swap=lambda _: bring(url), swaps=30)


def watched(repository, moving, *, swap, swaps):
    readers = [child("reading_child", kind, repository.path) for kind in ("packed", "git")]
    wait_until(lambda: all(reader.stdout.readline() for reader in readers), seconds=30)

    for number in range(1, swaps + 1):
        moving.to(number)
        swap(number)

    for reader in readers:
        seen = json.loads(reader.communicate("\n", timeout=30)[0])
        assert seen["mixed"] == []
        assert seen["versions"] > 5, "the reader slept through the updates"


@pytest.fixture
def worker():
    """A process that imports on demand, each time in a process that can be killed."""
    with child("importing_child") as process:
        yield process
        process.stdin.close()


def git_processes_on(folder):
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                found += [process.name] if str(folder).encode() in (process / "cmdline").read_bytes() else []
            except OSError:
                continue
    return found


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.usefixtures("confined")
def test_an_import_killed_at_any_instant_leaves_the_old_refs_or_all_new_ones_and_the_next_works(
    rounds, moving, git_server, bring, repository, worker
):
    url = git_server.add("moving", moving.path)
    old = moving.to(0)
    began = time.monotonic()
    bring(url, epoch=1)
    usual = time.monotonic() - began
    dice = random.Random(rounds)
    for epoch in range(2, rounds + 2):
        new = moving.to(epoch)
        victim = forked(worker, url, repository.path, epoch)
        time.sleep(dice.uniform(0, usual))
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        assert worker.stdout.readline()

        assert set(refs_of(repository.path).values()) in ({old}, {new})
        assert len(refs_of(repository.path)) == BRANCHES
        wait_until(lambda: not git_processes_on(repository.path), seconds=5, what="git died with its worker")
        old = next(iter(refs_of(repository.path).values()))

    bring(url, epoch=1000)

    assert refs_of(repository.path) == heads_and_tags(moving.path)
    assert loose_refs(repository.path) == []
    assert list((repository.path / "incoming").iterdir()) == []
    git(repository.path, "fsck", "--connectivity-only")


@pytest.fixture
def confined():
    from mirroring.upstream.git import confinement

    if "unshare" not in confinement.prefix():
        pytest.skip(
            "this machine allows no PID name space: the leash does it, in tests/upstream/test_leash.py"
        )


@pytest.mark.parametrize("rounds", ROUNDS)
def test_git_killed_at_any_instant_fails_the_import_and_costs_nothing(
    rounds, moving, git_server, bring, repository
):

    url = git_server.add("moving", moving.path)
    old = moving.to(0)
    began = time.monotonic()
    bring(url)
    usual = time.monotonic() - began
    dice = random.Random(rounds)
    for number in range(1, rounds + 1):
        new, stop = moving.to(number), StopHandle()
        killer = threading.Timer(dice.uniform(0, usual), stop.stop, [Stopped(Outcome.LOST, "killed")])
        killer.start()
        with contextlib.suppress(GitError):
            bring(url, stop=stop)
        killer.cancel()

        now = set(refs_of(repository.path).values())
        assert now == {new} if stop.stopped is None else now in ({old}, {new})
        [old] = now
    bring(url)

    assert refs_of(repository.path) == heads_and_tags(moving.path)
