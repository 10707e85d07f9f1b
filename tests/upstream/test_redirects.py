"""Redirects: git never follows one. We do, hop by hop, and only where the first URL could have led."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access import redirects
from mirroring.upstream.access.credentials import Secret, SecretKind
from mirroring.upstream.errors import Blocked, GitError
from mirroring.upstream.policy.guard import AllowList
from mirroring.upstream.policy.urls import BadURL, parse

pytestmark = pytest.mark.one_database

START = parse("https://h.example/team/x")


def moved(git_server, upstream, to, *, code=301, name="old"):
    return git_server.add(name, upstream.path, behaviour=f"moved:{code}:{to}")


def test_a_url_without_git_at_its_end_works_where_the_server_redirects_to_it(
    git_server, upstream, url, bring
):
    # As GitLab answers.
    old = moved(git_server, upstream, url).removesuffix(".git")

    fetched = bring(old)

    assert fetched.refs_changed > 0
    assert fetched.moved_to == url


@pytest.mark.parametrize(
    ("code", "for_good"), [(301, True), (308, True), (302, False), (303, False), (307, False)]
)
def test_only_a_permanent_redirect_says_where_the_upstream_is_now(
    git_server, upstream, url, bring, code, for_good
):
    fetched = bring(moved(git_server, upstream, url, code=code))

    assert fetched.refs_changed > 0
    assert bool(fetched.moved_to) is for_good


def test_one_passing_hop_among_permanent_ones_makes_the_way_a_passing_one(git_server, upstream, url, bring):
    between = moved(git_server, upstream, url, code=302, name="between")

    assert bring(moved(git_server, upstream, between)).moved_to == ""


def test_three_hops_are_followed_and_four_are_not(git_server, upstream, url, bring):
    third = moved(git_server, upstream, url, name="third")
    second = moved(git_server, upstream, third, name="second")
    first = moved(git_server, upstream, second, name="first")

    assert bring(first).moved_to == url
    with pytest.raises(GitError, match="more than 3 times"):
        bring(moved(git_server, upstream, first, name="zeroth"))


def test_a_circle_ends(git_server, upstream, bring):
    with pytest.raises(GitError, match="more than 3 times"):
        bring(moved(git_server, upstream, git_server.url_of("old")))


def test_a_redirect_to_a_refused_address_reaches_nobody(git_server, upstream, other, bring, settings):
    settings.ALLOW_PRIVATE_UPSTREAMS = AllowList.parse(["127.0.0.1/32"])
    target = other.add("x", upstream.path).replace("127.0.0.1", "127.0.0.2")

    with pytest.raises(Blocked, match=r"127\.0\.0\.2 is not on the public Internet"):
        bring(moved(git_server, upstream, target))
    assert other.requests() == 0


def test_a_redirect_to_a_name_with_a_refused_address_reaches_nobody(
    git_server, upstream, other, bring, settings, names
):
    settings.ALLOW_PRIVATE_UPSTREAMS = AllowList.parse(["127.0.0.1/32"])
    names["inside.test"] = ["127.0.0.9"]
    target = other.add("x", upstream.path).replace("127.0.0.1", "inside.test")

    with pytest.raises(Blocked, match=r"inside\.test"):
        bring(moved(git_server, upstream, target))
    assert other.requests() == 0


def test_a_secret_does_not_go_to_another_host(git_server, upstream, other, bring):
    # Another port is another server.
    target = other.add("x", upstream.path, behaviour="auth")
    secret = Secret(SecretKind.BASIC, username="lab", password="lab")

    assert bring(target, secret=secret).refs_changed > 0
    with pytest.raises(GitError) as caught:
        bring(moved(git_server, upstream, target), secret=secret)
    assert caught.value.outcome is Outcome.AUTH


def test_a_secret_goes_on_to_the_same_host(git_server, upstream, bring):
    target = git_server.add("private", upstream.path, behaviour="auth")
    secret = Secret(SecretKind.BASIC, username="lab", password="lab")

    assert bring(moved(git_server, upstream, target), secret=secret).refs_changed > 0


def test_a_redirect_to_a_page_is_gone_and_no_secret_of_its_text_is_told(git_server, upstream, bring):
    old = git_server.add("old", upstream.path, behaviour="redirect:302:/users/sign_in?token=hidden")

    with pytest.raises(GitError, match="page that is no repository") as caught:
        bring(old)
    assert caught.value.outcome is Outcome.GONE
    assert "hidden" not in caught.value.detail


@pytest.mark.parametrize(
    ("location", "to"),
    [
        ("/team/x.git/info/refs?service=git-upload-pack", "https://h.example/team/x.git"),
        ("https://other.example/x.git/info/refs", "https://other.example/x.git"),
        ("//other.example:8443/x/info/refs", "https://other.example:8443/x"),
    ],
)
def test_a_redirect_names_a_repository(location, to):
    assert redirects.hop(START, location).url == to


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("http://h.example/x/info/refs", "from https:// to http://"),
        ("ssh://git@h.example/x/info/refs", "to ssh://"),
        ("file:///etc/x/info/refs", "not accepted"),
        ("ext::sh -c x/info/refs", "not accepted"),
        ("https://u:p@h.example/x/info/refs", "not accepted"),
        ("https://0x7f.1/x/info/refs", "not accepted"),
        ("https://h.example:22/x/info/refs", "not accepted"),
        ("https://h.example/../info/refs", "no repository|not accepted"),
        ("https://h.example/x", "no repository"),
        ("https://h.example/x/info/refs?a=b", "no repository"),
        ("https://h.example/x/info/refs/y", "no repository"),
        ("https://[::1/info/refs", "no repository"),
        ("", "no repository"),
    ],
)
def test_a_redirect_elsewhere_is_refused(location, says):
    with pytest.raises(GitError, match=says):
        redirects.hop(START, location)


@given(st.text())
def test_any_redirect_leads_to_an_accepted_https_url_or_is_refused(location):
    try:
        target = redirects.hop(START, location)
    except (GitError, BadURL):
        return
    assert target.scheme == "https"
    assert parse(target.url) == target
