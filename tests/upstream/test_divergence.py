"""A mirror that keeps what it has when its upstream rewrites branches, with real git over real HTTP."""

import re

import pytest

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.errors import GitError
from mirroring.upstream.git.process import StopHandle, Stopped
from tests.lab import repositories
from tests.making import git, heads_and_tags, refs_of

pytestmark = pytest.mark.one_database


@pytest.fixture
def upstream(make_upstream):
    return make_upstream("branches")


def rewrite(upstream, *branches):
    """Let branches point at a commit that has no history."""
    tree = git(upstream.path, "rev-parse", "main^{tree}").strip()
    stranger = git(upstream.path, *IDENTITY, "commit-tree", "-m", "rewritten", tree).strip()
    for branch in branches:
        git(upstream.path, "update-ref", f"refs/heads/{branch}", stranger)


IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@b.example")


def test_a_rewritten_branch_changes_nothing_until_a_person_lets_it(upstream, url, bring, repository):
    bring(url, keeps_branches=True)
    before = refs_of(repository.path)
    repositories.push_commits(upstream, seed=1, kind="branch")
    rewrite(upstream, "main")

    with pytest.raises(GitError, match=r"rewrote its branches: main\. Nothing was changed") as refused:
        bring(url, keeps_branches=True)

    assert refused.value.outcome is Outcome.DIVERGED
    assert refs_of(repository.path) == before
    bring(url)
    assert refs_of(repository.path) == heads_and_tags(upstream.path)


@pytest.mark.parametrize("kind", [kind for kind in repositories.PUSH_KINDS if kind != "force"])
def test_whatever_rewrites_nothing_is_followed(kind, upstream, url, bring, repository):
    bring(url, keeps_branches=True)
    repositories.push_commits(upstream, seed=3, kind=kind)

    fetched = bring(url, keeps_branches=True)

    assert fetched.outcome is Outcome.CHANGED
    assert refs_of(repository.path) == heads_and_tags(upstream.path)


def test_a_forced_push_that_drops_one_commit_is_seen(upstream, url, bring):
    repositories.push_commits(upstream, seed=1)
    bring(url, keeps_branches=True)
    repositories.push_commits(upstream, seed=2, kind="force")

    with pytest.raises(GitError) as refused:
        bring(url, keeps_branches=True)

    assert refused.value.outcome is Outcome.DIVERGED


def test_a_tag_that_moves_is_no_divergence(upstream, url, bring, repository):
    git(upstream.path, "tag", "moving", "main")
    bring(url, keeps_branches=True)
    repositories.push_commits(upstream, seed=1)
    git(upstream.path, "tag", "--force", "moving", "main")

    bring(url, keeps_branches=True)

    assert refs_of(repository.path) == heads_and_tags(upstream.path)


def test_of_many_branches_the_first_are_named(upstream, url, bring):
    for name in "abcd":
        git(upstream.path, "branch", name, "main")
    bring(url, keeps_branches=True)
    rewrite(upstream, *"abcd")

    with pytest.raises(GitError, match=re.escape("branches: a, b, c and perhaps more.")):
        bring(url, keeps_branches=True)


def test_a_fresh_clone_of_a_rewritten_upstream_changes_nothing_either(upstream, url, bring, repository):
    repositories.push_commits(upstream, seed=1)  # A commit that no other branch has.
    bring(url, keeps_branches=True)
    before = refs_of(repository.path)
    rewrite(upstream, "main")

    with pytest.raises(GitError) as refused:
        bring(url, keeps_branches=True, afresh=True)

    assert refused.value.outcome is Outcome.DIVERGED
    assert refs_of(repository.path) == before


def test_what_was_stopped_is_not_called_rewritten(upstream, url, bring, repository):
    from mirroring.upstream.disk import ancestry

    bring(url)
    stop = StopHandle()
    stop.stop(Stopped(Outcome.CANCELED, "canceled"))

    with pytest.raises(GitError) as stopped:
        ancestry.commit(repository.path, "0" * 40, stop=stop)

    assert stopped.value.outcome is Outcome.CANCELED
