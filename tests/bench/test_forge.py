"""The forge that answers from memory is a git server to git."""

import subprocess

import pytest

from bench.harness import upstreams
from bench.peers import git_client

pytestmark = pytest.mark.one_database


def test_git_clones_and_fetches_what_the_forge_says_it_holds(tmp_path):
    with upstreams.memory(tmp_path, count=3, refs=12) as served:
        clones = [tmp_path / f"{number}.git" for number in range(3)]
        for url, clone in zip(served.urls, clones, strict=True):
            git_client.clone(url, clone)
        first = [git_client.head_of(clone) for clone in clones]

        served.push([1])
        git_client.fetch(clones, git_client.DEFAULT)

        assert first == [served.head(0), first[1], served.head(2)]
        assert git_client.head_of(clones[1]) == served.head(1) != first[1]
        assert len(set(first)) == 3
        refs = ["git", "-C", str(clones[1]), "for-each-ref"]
        assert len(subprocess.run(refs, capture_output=True, text=True, check=True).stdout.splitlines()) == 12
        subprocess.run(["git", "-C", str(clones[1]), "fsck", "--strict"], check=True, capture_output=True)


def test_a_new_version_is_a_commit_on_the_one_before(tmp_path):
    with upstreams.memory(tmp_path, count=1, refs=3) as served:
        fetched, late = tmp_path / "fetched.git", tmp_path / "late.git"
        git_client.clone(served.urls[0], fetched)

        for _ in range(2):
            served.push([0])
            git_client.fetch([fetched], git_client.DEFAULT)
        git_client.clone(served.urls[0], late)

        for clone in (fetched, late):
            log = ["git", "-C", str(clone), "log", "--format=%s", "refs/heads/main"]
            said = subprocess.run(log, capture_output=True, text=True, check=True).stdout
            assert said.splitlines() == ["Version 3", "Version 2", "Version 1"]
            subprocess.run(["git", "-C", str(clone), "fsck", "--strict"], check=True, capture_output=True)
