"""A worker whose claim is gone can make nothing visible, whenever it wakes up."""

import fcntl
import os
import threading
from datetime import timedelta

import pytest

from mirroring.rules.outcomes import SUCCESSES, Outcome
from mirroring.upstream.disk import repository as repositories_on_disk
from mirroring.upstream.git.process import GitError, StopHandle, Stopped
from tests.lab import repositories
from tests.making import git, heads_and_tags, refs_of, wait_until


@pytest.fixture
def url(git_server, upstream, bring, repository):
    """The URL of an upstream that was imported under epoch 1 and has got a commit since."""
    url = git_server.add(upstream.name, upstream.path)
    bring(url, epoch=1)
    repositories.push_commits(upstream, seed=1)
    return url


def fenced(bring, url, **options):
    with pytest.raises(GitError) as caught:
        bring(url, **options)
    return caught.value.outcome is Outcome.FENCED


def test_who_is_told_that_the_claim_is_gone_writes_nothing(url, bring, repository):
    before = refs_of(repository.path)

    assert fenced(bring, url, epoch=2, still_ours=lambda: False)
    assert refs_of(repository.path) == before


def test_a_head_that_is_never_shown_leaves_the_one_that_readers_see(url, bring, repository, upstream):
    """The staged one begins as the same file, to spare one."""
    before = (repository.path / "HEAD").read_text()
    git(upstream.path, "update-ref", "refs/heads/other", "HEAD")
    git(upstream.path, "symbolic-ref", "HEAD", "refs/heads/other")

    assert fenced(bring, url, epoch=2, still_ours=lambda: False)
    assert (repository.path / "HEAD").read_text() == before


def test_who_is_revoked_after_it_was_told_that_all_is_well_writes_nothing(url, bring, repository):
    # The worst moment: the claim was asked for and stood, the worker was held up, and repair has taken over.
    before, head = refs_of(repository.path), (repository.path / "HEAD").read_text()

    def well_and_then_revoked():
        repository.revoke(before=3)
        return True

    assert fenced(bring, url, epoch=2, still_ours=well_and_then_revoked)
    assert refs_of(repository.path) == before
    assert (repository.path / "HEAD").read_text() == head


@pytest.fixture
def staged(url, bring, repository, git_server, upstream):
    """Return a function that starts an import and returns once it has staged something; joining gives its result."""

    def start(epoch, **options):
        results = []

        def run():
            try:
                results.append(bring(url, epoch=epoch, **options).outcome)
            except GitError as error:
                results.append(error.outcome)

        git_server.behave(upstream.name, "slow:2")
        thread = threading.Thread(target=run)
        thread.start()
        wait_until(repository.staging(epoch).exists, seconds=10)
        git_server.behave(upstream.name, "")

        def join():
            thread.join(30)
            return results[0]

        return join

    return start


def test_an_import_that_is_overtaken_by_a_newer_one_writes_nothing(staged, url, bring, repository, upstream):
    join = staged(2)

    assert bring(url, epoch=3).outcome is Outcome.CHANGED

    newest = repository.packed_refs.stat().st_ino
    assert join() not in SUCCESSES
    assert repository.packed_refs.stat().st_ino == newest
    assert refs_of(repository.path) == heads_and_tags(upstream.path)


def test_an_older_import_that_begins_late_leaves_the_newer_one_alone(staged, url, bring):
    join = staged(3)

    assert fenced(bring, url, epoch=2, still_ours=lambda: False)

    assert join() is Outcome.CHANGED


def test_a_revocation_takes_earlier_epochs_away_and_no_others(repository):
    repository.make(stop=StopHandle())
    for epoch in (8, 9, 10, 11):
        repository.stage(epoch)
    (repository.path / "incoming" / ".7.abcd").mkdir()

    repository.revoke(before=10)

    assert {path.name for path in (repository.path / "incoming").iterdir()} == {"10", "11"}


def test_a_stopped_import_publishes_nothing(url, bring, repository):
    before, stop = refs_of(repository.path), StopHandle()

    def stopped_meanwhile():
        stop.stop(Stopped(Outcome.CANCELED, "paused"))
        return stop.stopped is None

    assert fenced(bring, url, epoch=2, still_ours=stopped_meanwhile, stop=stop)
    assert refs_of(repository.path) == before


def test_a_repository_whose_lock_is_held_is_not_waited_for_without_end(url, bring, repository, monkeypatch):
    monkeypatch.setattr(repositories_on_disk, "LOCK_TIMEOUT", timedelta(seconds=0.2))
    before = refs_of(repository.path)

    with (repository.path / "update.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(GitError) as caught:
            bring(url, epoch=2)

    assert caught.value.outcome is Outcome.TRANSIENT
    assert refs_of(repository.path) == before
    assert bring(url, epoch=3).outcome is Outcome.CHANGED


def test_the_claim_is_asked_for_under_the_lock(url, bring, repository):
    held = []

    def ask():
        other = os.open(repository.path / "update.lock", os.O_RDONLY)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.append(True)
        finally:
            os.close(other)
        return True

    bring(url, epoch=2, still_ours=ask)

    assert held == [True]
