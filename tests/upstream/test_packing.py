"""Many packs become few; nothing that a repository holds is lost, whatever happens meanwhile."""

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from datetime import timedelta

import pytest

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.disk import packing
from mirroring.upstream.git.bounds import NO_BOUNDS, Bounds
from mirroring.upstream.git.process import StopHandle, Stopped
from tests.lab import fast_import, repositories
from tests.lab.fast_import import Stream
from tests.making import git, heads_and_tags, refs_of
from tests.upstream.children import child, forked

COMMITS = 12
ROUNDS = [4, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
NO_PACK = "pack-" + "0" * 40


def packs_of(repository):
    return {file.stem for file in (repository.objects / "pack").glob("*.pack")}


def objects_of(repository):
    said = git(repository.path, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    return set(said.split())


def check_whole(repository):
    git(repository.path, "fsck", "--full", "--strict", "--no-dangling")


@pytest.fixture
def every(monkeypatch):
    """Return a function that sets after how many packs they are rolled up."""
    return lambda number: monkeypatch.setattr(packing, "EVERY", number)


@pytest.fixture
def url(git_server, upstream, bring):
    """The URL of an upstream that was imported once."""
    url = git_server.add(upstream.name, upstream.path)
    bring(url)
    return url


@pytest.fixture
def pushed(upstream, bring, url):
    """Return a function that imports again and again, each time after a push."""
    seeds = itertools.count(1)

    def push(times, **options):
        for _ in range(times):
            repositories.push_commits(upstream, seed=next(seeds))
            fetched = bring(url, **options)
        return fetched

    return push


def test_packs_become_few_as_their_number_passes_the_bound_and_all_is_still_here(
    every, pushed, repository, upstream
):
    pushed(4)
    before = objects_of(repository)
    every(len(packs_of(repository)) + 1)

    pushed(1)

    assert len(packs_of(repository)) < 4
    assert objects_of(repository) > before
    assert refs_of(repository.path) == heads_and_tags(upstream.path)
    assert list((repository.path / "incoming").iterdir()) == []
    check_whole(repository)


def test_below_the_bound_packs_stay_as_they_are(every, pushed, repository):
    pushed(1)
    before = packs_of(repository)
    every(len(before) + 4)

    pushed(3)

    assert packs_of(repository) > before
    assert len(packs_of(repository)) == len(before) + 3


def test_an_import_that_brings_no_pack_rolls_nothing_up(every, pushed, bring, url, repository, upstream):
    pushed(2)
    before = packs_of(repository)
    every(len(before))
    git(upstream.path, "update-ref", "refs/heads/one-more", "HEAD")

    assert bring(url).outcome is Outcome.CHANGED
    assert packs_of(repository) == before


def test_what_fails_leaves_the_import_a_success_and_is_not_tried_each_time(
    every, pushed, repository, upstream, caplog
):
    pushed(1)
    for suffix in (".pack", ".idx"):
        (repository.objects / "pack" / (NO_PACK + suffix)).write_text("damaged")
    every(len(packs_of(repository)) + 1)

    fetched = pushed(2)

    assert fetched.outcome is Outcome.CHANGED
    assert refs_of(repository.path) == heads_and_tags(upstream.path)
    [said] = [record for record in caplog.records if record.name == packing.__name__]
    assert NO_PACK in said.error


def test_a_stop_as_soon_as_the_refs_are_visible_leaves_the_import_a_success(
    every, pushed, repository, upstream
):
    pushed(1)
    every(1)
    stop, before = StopHandle(), packs_of(repository)

    def ours_and_then_stopped():
        stop.stop(Stopped(Outcome.INTERRUPTED, "the worker shuts down"))
        return True

    assert pushed(1, still_ours=ours_and_then_stopped, stop=stop).outcome is Outcome.CHANGED
    assert packs_of(repository) > before
    assert refs_of(repository.path) == heads_and_tags(upstream.path)


@pytest.fixture
def scattered(repository, every):
    """A repository of one branch with a pack for each commit, which are due to be rolled up."""
    every(COMMITS)
    repository.make(stop=StopHandle())
    stream, mark = Stream(random.Random(1)), ()
    for number in range(COMMITS):
        text = random.Random(number).randbytes(100_000).hex()
        mark = (stream.commit("refs/heads/main", files={"f": text}, parents=mark),)
    fast_import.feed(repository.path, stream)
    git(repository.path, "pack-refs", "--all")
    folder = repository.objects / "pack"
    known = ""
    for oid in git(repository.path, "rev-list", "--reverse", "main").split():
        command = ["git", f"--git-dir={repository.path}", "pack-objects", "-q", "--revs", folder / "pack"]
        given, known = f"{oid}\n{known}".encode(), f"^{oid}\n"
        subprocess.run(
            command, input=given, env=fast_import.ENVIRONMENT, stdout=subprocess.DEVNULL, check=True
        )
    # The stream left its objects loose, too, which would hide a pack that is gone.
    git(repository.path, "prune-packed")
    assert len(packs_of(repository)) == COMMITS
    assert not list(repository.objects.glob("??/*"))
    return repository


def roll_up(repository, *, epoch=1, still_ours=lambda: True, bounds=NO_BOUNDS):
    """Roll up as an import of this epoch does once its refs are visible."""
    repository.stage(epoch)
    packing.roll_up(
        repository,
        epoch,
        brought=packing.EVERY,
        bounds=bounds,
        left=timedelta(seconds=30),
        still_ours=still_ours,
        stop=StopHandle(),
    )
    repository.revoke(before=epoch + 1)


def test_what_no_ref_leads_to_is_kept(scattered):
    before = objects_of(scattered)
    older = git(scattered.path, "rev-parse", "main~5").strip()
    scattered.packed_refs.write_text(f"{older} refs/heads/main\n")

    roll_up(scattered)

    assert len(packs_of(scattered)) == 1
    assert objects_of(scattered) == before
    check_whole(scattered)


def test_a_repository_at_its_limit_is_packed(scattered):
    roll_up(scattered, bounds=Bounds(repository_mb=1))

    assert len(packs_of(scattered)) == 1


@pytest.mark.parametrize("suffix", [".keep", ".promisor", ".mtimes"])
def test_a_pack_that_is_more_than_a_pack_stays(suffix, scattered):
    special = min(packs_of(scattered))
    (scattered.objects / "pack" / (special + suffix)).touch()

    roll_up(scattered)

    assert len(packs_of(scattered)) == 2
    assert special in packs_of(scattered)


def test_no_more_is_rolled_up_at_once_than_an_import_can_pay_for(scattered, monkeypatch):
    sizes = {file.stem: file.stat().st_size for file in (scattered.objects / "pack").glob("*.pack")}
    monkeypatch.setattr(packing, "MOST", sum(sizes.values()) - 1)

    roll_up(scattered)

    assert len(packs_of(scattered)) == 2
    assert max(sizes, key=sizes.__getitem__) in packs_of(scattered)


def test_a_repository_with_an_index_over_its_packs_is_left_to_whoever_made_it(scattered):
    git(scattered.path, "multi-pack-index", "write")

    roll_up(scattered)

    assert len(packs_of(scattered)) == COMMITS


def test_who_is_told_that_the_claim_is_gone_removes_nothing(scattered):
    before = packs_of(scattered)

    roll_up(scattered, still_ours=lambda: False)

    assert packs_of(scattered) == before


def test_who_is_revoked_after_it_was_told_that_all_is_well_removes_nothing(scattered):
    before = packs_of(scattered)

    def well_and_then_revoked():
        scattered.revoke(before=2)
        return True

    roll_up(scattered, still_ours=well_and_then_revoked)

    assert packs_of(scattered) == before


def test_a_pack_that_is_written_once_more_stays(scattered):
    """The others held nothing of their own, so that git writes the very same pack."""
    roll_up(scattered)
    [only] = packs_of(scattered)
    staging = scattered.stage(2)
    for file in (scattered.objects / "pack").iterdir():
        shutil.copy(file, staging / "objects" / "pack")

    scattered.exchange_packs(2, {only}, still_ours=lambda: True)

    assert packs_of(scattered) == {only}
    check_whole(scattered)


@pytest.mark.parametrize(
    ("sizes", "rolled"),
    [
        ([], 0),
        ([7], 0),
        ([1, 2, 6, 18], 0),
        ([1, 1], 2),
        ([5, 5, 5, 100], 3),
        ([5, 5, 5, 29], 4),
        ([1, 2, 6, 90, 100], 5),
    ],
)
def test_packs_stay_that_are_twice_as_large_as_all_smaller_ones(sizes, rolled):
    packs = {str(at): size for at, size in enumerate(sizes)}

    assert packing.smallest(packs) == set(list(packs)[:rolled])


@pytest.fixture
def packer():
    """A process that rolls up on demand, each time in a process that can be killed."""
    with child("packing_child") as process:
        yield process
        process.stdin.close()


def start(packer, repository, *, step=0):
    return forked(packer, repository.path, step)


def was_killed(packer):
    return os.waitstatus_to_exitcode(int(packer.stdout.readline())) == -signal.SIGKILL


@pytest.fixture
def again(scattered, tmp_path):
    """Return a function that makes the scattered repository as it was."""
    shutil.copytree(scattered.path, tmp_path / "before")

    def restore():
        shutil.rmtree(scattered.path)
        shutil.copytree(tmp_path / "before", scattered.path)

    return restore


def check_after_a_kill(repository, *, whole):
    assert objects_of(repository) == whole
    check_whole(repository)
    roll_up(repository, epoch=2)
    assert len(packs_of(repository)) <= 2  # One old pack that is left is small beside the new one, and stays.
    assert objects_of(repository) == whole
    assert list((repository.path / "incoming").iterdir()) == []


@pytest.mark.timeout(120)
def test_killed_before_any_step_of_the_exchange_nothing_is_lost(scattered, again, packer, every):
    every(1)
    whole = objects_of(scattered)
    for step in itertools.count(1):
        again()
        start(packer, scattered, step=step)
        if not was_killed(packer):
            break
        assert objects_of(scattered) == whole
        if step % 5 == 0:
            check_after_a_kill(scattered, whole=whole)

    assert step > 2 * COMMITS, "each pack and each index is a step"
    assert len(packs_of(scattered)) == 1
    check_whole(scattered)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_killed_at_any_instant_nothing_is_lost(rounds, scattered, again, packer, every):
    every(1)
    whole = objects_of(scattered)
    began = time.monotonic()
    start(packer, scattered)
    assert not was_killed(packer)
    usual = time.monotonic() - began
    dice = random.Random(rounds)
    for _ in range(rounds):
        again()
        victim = start(packer, scattered)
        time.sleep(dice.uniform(0, usual))
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        was_killed(packer)

        check_after_a_kill(scattered, whole=whole)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_who_clones_meanwhile_gets_a_whole_clone(rounds, scattered, tmp_path):
    """Packs come one by one, as imports bring them, and are rolled up while it is read."""
    whole, failed, over = objects_of(scattered), [], threading.Event()
    clones = itertools.count()
    packs = list(shutil.copytree(scattered.objects / "pack", tmp_path / "packs").iterdir())

    def read():
        while not over.is_set():
            clone = tmp_path / f"clone-{next(clones)}"
            done = subprocess.run(
                ["git", "clone", "--quiet", "--mirror", "--no-local", scattered.path, clone],
                env=fast_import.ENVIRONMENT,
                capture_output=True,
            )
            held = git(clone, "rev-list", "--objects", "--all").split("\n") if not done.returncode else []
            if {line.split(" ")[0] for line in held if line} != whole:
                failed.append(done.stderr)
            shutil.rmtree(clone, ignore_errors=True)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for epoch in range(1, rounds + 1):
        time.sleep(0.05)
        roll_up(scattered, epoch=epoch)
        assert len(packs_of(scattered)) == 1
        for file in sorted(packs, key=lambda file: file.suffix == ".idx"):
            shutil.copy(file, scattered.path / "coming")
            (scattered.path / "coming").rename(scattered.objects / "pack" / file.name)
    over.set()
    for reader in readers:
        reader.join()

    assert failed == []
    assert next(clones) > 1
