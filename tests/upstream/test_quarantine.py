"""A mirror whose objects were damaged on our disk: cloned afresh beside, swapped in, and the damaged set aside."""

import itertools
import subprocess

import pytest

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.errors import GitError
from tests.lab.repositories import push_commits
from tests.making import git, heads_and_tags

SEEDS = itertools.count(1)


def damage(repository):
    """Overwrite the middle of every pack, as a bad disk would."""
    for pack in (repository.path / "objects" / "pack").glob("*.pack"):
        pack.chmod(0o600)
        data = bytearray(pack.read_bytes())
        data[12:-20] = bytes(len(data) - 32)
        pack.write_bytes(data)


def intact(repository):
    done = subprocess.run(["git", f"--git-dir={repository.path}", "fsck", "--full"], capture_output=True)
    return done.returncode == 0


def test_objects_that_are_damaged_here_are_told_from_troubles_of_the_upstream(
    bring, repository, upstream, url
):
    bring(url)
    damage(repository)
    push_commits(upstream, seed=next(SEEDS))

    with pytest.raises(GitError) as caught:
        bring(url)

    assert caught.value.outcome is Outcome.CORRUPT, caught.value.detail
    assert caught.value.signal == "none"


def test_a_clone_afresh_trusts_nothing_that_is_here_and_sets_it_aside(bring, repository, upstream, url):
    bring(url)
    packs = {file.name for file in (repository.path / "objects" / "pack").iterdir()}
    damage(repository)
    assert not intact(repository)

    bring(url, afresh=True)

    assert intact(repository)
    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)
    assert git(repository.path, "log", "--oneline", "--all")
    kept = {file.name for file in (repository.path / "quarantine" / "2" / "pack").glob("*")}
    assert kept <= packs


def test_damaged_objects_are_set_aside_where_the_clone_brings_others(bring, repository, upstream, url):
    bring(url)
    push_commits(upstream, seed=next(SEEDS))
    bring(url)
    damage(repository)
    push_commits(upstream, seed=next(SEEDS))

    bring(url, afresh=True)

    assert intact(repository)
    assert list((repository.path / "quarantine" / "3" / "pack").glob("*.pack"))
    assert len(list((repository.path / "objects" / "pack").glob("*.pack"))) == 1


def test_of_quarantines_only_the_last_is_kept(bring, repository, upstream, url):
    bring(url)
    for _ in range(2):
        push_commits(upstream, seed=next(SEEDS))
        bring(url, afresh=True)

    assert [folder.name for folder in (repository.path / "quarantine").iterdir()] == ["3"]


def test_a_clone_afresh_that_lost_its_claim_sets_nothing_aside(bring, repository, upstream, url):
    bring(url)
    push_commits(upstream, seed=next(SEEDS))

    with pytest.raises(GitError) as caught:
        bring(url, afresh=True, still_ours=lambda: False)

    assert caught.value.outcome is Outcome.FENCED
    assert intact(repository)
    assert not (repository.path / "quarantine").exists()


def test_an_upstream_that_lists_nothing_empties_no_mirror_that_is_cloned_afresh(
    bring, repository, make_upstream, git_server, url, upstream
):
    bring(url)
    git_server.add(upstream.name, make_upstream("empty").path)

    with pytest.raises(GitError) as caught:
        bring(url, afresh=True)

    assert caught.value.outcome is Outcome.EMPTIED
