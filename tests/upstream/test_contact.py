"""The door: whatever the path to the network, the policy is asked, and git reaches only what was judged."""

import pytest

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.errors import Blocked, GitError
from mirroring.upstream.policy.guard import AllowList

pytestmark = pytest.mark.one_database


@pytest.fixture
def named(git_server, upstream):
    """The URL of an upstream under a name that only our DNS knows: git itself could not resolve it."""
    return git_server.add(upstream.name, upstream.path).replace("127.0.0.1", "git.test")


def test_git_connects_to_the_address_that_was_judged_and_asks_no_dns(names, named, bring):
    names["git.test"] = ["127.0.0.1"]

    assert bring(named).refs_changed > 0


def test_a_second_answer_of_dns_changes_nothing(names, named, bring, git_server, request_log):
    # One look-up for the whole import: what a rebinding server would answer next is never asked for.
    names["git.test"] = ["127.0.0.1", "192.0.2.77"]

    assert bring(named).refs_changed > 0
    assert names["git.test"] == ["192.0.2.77"]


def test_a_refused_address_is_never_contacted(names, named, bring, settings, request_log):
    names["git.test"] = ["127.0.0.1"]
    settings.ALLOW_PRIVATE_UPSTREAMS = AllowList()

    with pytest.raises(Blocked, match=r"with ALLOW_PRIVATE_UPSTREAMS=127.0.0.1/32"):
        bring(named)
    assert not request_log.exists() or request_log.read_text() == ""


def test_a_name_that_dns_does_not_know_never_reaches_git(names, named, bring):
    with pytest.raises(GitError, match="could not resolve host") as caught:
        bring(named)

    assert caught.value.outcome is Outcome.TRANSIENT


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "https://localhost/x", "git@[::1]:x", "file:///x"])
def test_what_can_never_be_contacted_is_refused_when_it_is_added(url, settings, db):
    from mirroring import catalog

    settings.ALLOW_PRIVATE_UPSTREAMS = AllowList()

    with pytest.raises(catalog.CatalogError):
        catalog.want(url)
