"""Imports of mirrors that are checked: what they bring of what was listed in process, and what they ask git for."""

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest

from mirroring.upstream.transfer import listing, staging
from tests.lab import fast_import, hostile
from tests.lab.hostile import HostileServer
from tests.lab.repositories import push_commits
from tests.making import git, heads_and_tags, loose_refs, refs_of

KINDS = ("commit", "branch", "tag", "delete", "force", "head")


@pytest.fixture
def upstream(make_upstream):
    made = make_upstream("pulls")
    git(made.path, "update-ref", "refs/heads/another", "main")
    return made


@pytest.fixture
def asked(request_log):
    """Return what has been asked of the server since the last call."""
    seen = 0

    def ask():
        nonlocal seen
        lines = [json.loads(line) for line in request_log.read_text().splitlines()]
        new, seen = lines[seen:], len(lines)
        return [line["kind"] for line in new if line["event"] == "start"]

    return ask


@pytest.fixture
def mirrored(upstream, git_server, bring, asked):
    """Import once, and return a function that imports again."""
    url = git_server.add(upstream.name, upstream.path)
    bring(url)
    asked()
    return lambda **order: bring(url, probes=True, **order)


@pytest.fixture
def between(monkeypatch):
    """Let something happen between the listing and the fetch: a function that may change the listing."""

    def put(act):
        ask = listing.in_process

        def then(*args, **kwargs):
            found = ask(*args, **kwargs)
            return act(found) or found

        monkeypatch.setattr(listing, "in_process", then)

    return put


def packed_of_a_clone(path, tmp_path):
    clone = tmp_path / "clone.git"
    fast_import.run(path, "clone", "--quiet", "--bare", str(path), str(clone))
    for name in refs_of(clone, "refs/pull"):
        git(clone, "update-ref", "-d", name)
    git(clone, "pack-refs", "--all")
    return (clone / "packed-refs").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_pushed_is_fetched_alone_and_the_refs_are_as_git_would_write_them(
    kind, upstream, mirrored, asked, repository, tmp_path
):
    push_commits(upstream, seed=3, kind=kind)

    fetched = mirrored()

    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)
    assert (repository.path / "HEAD").read_text() == (upstream.path / "HEAD").read_text()
    assert (repository.path / "packed-refs").read_bytes() == packed_of_a_clone(upstream.path, tmp_path)
    assert loose_refs(repository.path) == []
    assert asked().count("ls-refs") == 1  # Ours; git would list for itself if it were asked for all.
    assert fetched.digest is not None
    git(repository.path, "fsck", "--connectivity-only")


def test_for_what_went_away_no_git_is_asked(upstream, mirrored, asked, repository):
    push_commits(upstream, seed=3, kind="delete")

    mirrored()

    assert asked() == ["refs", "ls-refs"]
    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)


def test_several_changes_come_together(upstream, mirrored, asked, repository):
    for seed, kind in enumerate(KINDS):
        push_commits(upstream, seed=seed, kind=kind)

    mirrored()

    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)
    assert asked().count("ls-refs") == 1


def test_what_an_import_brings_is_of_one_moment(upstream, mirrored, between, repository):
    """Both branches move after the listing. To have the new one of the two would be a state that never was."""
    push_commits(upstream, seed=1, kind="commit")
    listed = heads_and_tags(upstream.path)

    def push_to_both(_found):
        push_commits(upstream, seed=2, kind="branch")
        push_commits(upstream, seed=2, kind="commit")

    between(push_to_both)
    fetched = mirrored()

    assert heads_and_tags(repository.path) == listed != heads_and_tags(upstream.path)
    assert fetched.digest is not None  # Of what is here: the next check finds the difference.


def test_a_server_that_does_not_have_what_it_listed_is_asked_again(
    upstream, mirrored, between, asked, repository
):
    push_commits(upstream, seed=1, kind="commit")
    between(lambda found: replace(found, refs=found.refs | {"refs/heads/main": "12" * 20}))

    fetched = mirrored()

    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)
    assert asked().count("ls-refs") == 2
    assert fetched.digest is None


def test_a_listing_in_which_only_head_moved_before_the_fetch_leaves_no_digest(upstream, bring, repository):
    """HEAD may move back: a check would then find what was listed first, and no change."""
    honest, fetches = hostile.serve(upstream.path), []

    def moving(exchange):
        is_fetch = b"command=fetch" in exchange.body
        if is_fetch and not fetches:
            git(upstream.path, "symbolic-ref", "HEAD", "refs/heads/another")
            with out_of_reach(upstream.path / "objects"):
                honest(exchange)
        else:
            honest(exchange)
        fetches.extend(["fetch"] * is_fetch)

    with HostileServer({"x": moving}, addresses=[("127.0.0.1", 0)], note=lambda *_, **__: None) as server:
        url = f"http://127.0.0.1:{server.port}/x/x.git"
        fetched, again = bring(url, probes=True), bring(url, probes=True)

    assert len(fetches) == 2
    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)
    assert git(repository.path, "symbolic-ref", "HEAD") == "refs/heads/another\n"
    assert fetched.digest is None
    assert again.digest is not None


@contextmanager
def out_of_reach(objects):
    """Let a repository have none of its objects for a while."""
    away = objects.with_name("away")
    objects.rename(away)
    objects.mkdir()
    yield
    objects.rmdir()
    away.rename(objects)


def test_a_listing_in_which_a_name_is_a_folder_too_is_not_followed(
    upstream, mirrored, between, asked, repository
):
    between(
        lambda found: replace(found, refs=found.refs | {"refs/heads/main/x": found.refs["refs/heads/main"]})
    )

    mirrored()

    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)
    assert asked().count("ls-refs") == 2


def test_a_name_that_was_a_folder_and_one_that_became_one(upstream, mirrored, asked, repository):
    tip = git(upstream.path, "rev-parse", "main").strip()
    git(upstream.path, "update-ref", "refs/heads/a/b", tip)
    git(upstream.path, "update-ref", "refs/heads/c", tip)
    mirrored()
    for name in ("refs/heads/a/b", "refs/heads/c"):
        git(upstream.path, "update-ref", "-d", name)
    git(upstream.path, "update-ref", "refs/heads/a", tip)
    git(upstream.path, "update-ref", "refs/heads/c/d", tip)
    asked()

    mirrored()

    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)
    assert asked().count("ls-refs") == 1


def test_refs_that_were_packed_without_their_peeled_values_are_peeled_again(
    upstream, mirrored, repository, tmp_path
):
    push_commits(upstream, seed=1, kind="tag")
    mirrored()
    lines = repository.packed_refs.read_text().replace("fully-peeled ", "").splitlines(keepends=True)
    repository.packed_refs.write_text("".join(line for line in lines if line[0] != "^"))
    push_commits(upstream, seed=2, kind="commit")

    mirrored()

    assert repository.packed_refs.read_bytes() == packed_of_a_clone(upstream.path, tmp_path)


def test_a_mirror_that_keeps_its_branches_refuses_a_rewritten_one_also_then(upstream, mirrored, repository):
    from mirroring.rules.outcomes import Outcome
    from mirroring.upstream.errors import GitError

    before = heads_and_tags(repository.path)
    push_commits(upstream, seed=1, kind="force")

    with pytest.raises(GitError) as failed:
        mirrored(keeps_branches=True)

    assert failed.value.outcome is Outcome.DIVERGED
    assert heads_and_tags(repository.path) == before


def test_a_branch_off_one_that_git_was_not_told_of_is_whole(upstream, mirrored, repository, monkeypatch):
    monkeypatch.setattr(staging, "KNOWN", 1)
    push_commits(upstream, seed=1, kind="branch")
    mirrored()
    git(upstream.path, "update-ref", "refs/heads/off-it", "refs/heads/pushed-1")
    push_commits(upstream, seed=2, kind="tag")

    mirrored()

    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)
    git(repository.path, "fsck", "--connectivity-only")
