"""The ways to a host: a private CA, our certificate, a proxy. Real servers at the other end of each."""

import pytest

from mirroring.rules.hosts import Signal
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access.contact import Route
from mirroring.upstream.errors import Blocked, GitError
from mirroring.upstream.policy.guard import AllowList
from tests.lab.certificates import Authority
from tests.lab.http_server import GitServer
from tests.lab.proxy import Proxy

pytestmark = pytest.mark.one_database


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def secure(authority):
    """A server whose certificate, for git.test and 127.0.0.1, a private CA has signed."""
    with GitServer(certificate=authority.certificate("git.test", "127.0.0.1")) as server:
        yield server


def host_of(url):
    return url.split("/")[2]


def test_https_with_a_private_ca_is_fetched_under_its_name(names, secure, upstream, authority, bring):
    names["git.test"] = ["127.0.0.1"]
    url = secure.add(upstream.name, upstream.path).replace("127.0.0.1", "git.test")

    assert bring(url, routes={host_of(url): Route(ca_bundle=authority.bundle)}).refs_changed > 0


def test_a_certificate_that_nobody_we_know_has_signed_is_refused(secure, upstream, bring):
    with pytest.raises(GitError, match="certificate") as caught:
        bring(secure.add(upstream.name, upstream.path))

    assert (caught.value.outcome, caught.value.signal) == (Outcome.TRANSIENT, Signal.UNREACHABLE)


def test_a_certificate_for_another_name_is_refused(names, secure, upstream, authority, bring):
    names["other.test"] = ["127.0.0.1"]
    url = secure.add(upstream.name, upstream.path).replace("127.0.0.1", "other.test")

    with pytest.raises(GitError, match="certificate"):
        bring(url, routes={host_of(url): Route(ca_bundle=authority.bundle)})


def test_our_certificate_is_shown_where_it_is_asked_for(authority, upstream, bring):
    served, ours = authority.certificate("127.0.0.1"), authority.certificate("mirror.test")
    with GitServer(certificate=served, client_ca=authority.bundle) as server:
        url = server.add(upstream.name, upstream.path)
        with pytest.raises(GitError):
            bring(url, routes={host_of(url): Route(ca_bundle=authority.bundle)})
        route = Route(ca_bundle=authority.bundle, client_certificate=ours)
        assert bring(url, routes={host_of(url): route}).refs_changed > 0


def test_a_redirect_over_https_is_followed_with_the_ca_of_the_host(secure, upstream, authority, bring):
    url = secure.add(upstream.name, upstream.path)
    old = secure.add("old", upstream.path, behaviour=f"moved:301:{url}")

    fetched = bring(old, routes={host_of(url): Route(ca_bundle=authority.bundle)})

    assert (fetched.refs_changed > 0, fetched.moved_to) == (True, url)


def test_http_goes_through_the_proxy_which_alone_knows_the_name(git_server, upstream, bring):
    url = git_server.add(upstream.name, upstream.path).replace("127.0.0.1", "git.test")
    with Proxy({"git.test": "127.0.0.1"}) as proxy:
        assert bring(url, routes={host_of(url): Route(proxy=proxy.url)}).refs_changed > 0
    assert proxy.asked[0] == f"GET {host_of(url)}"


def test_https_goes_through_a_tunnel_and_so_does_its_redirect(secure, upstream, authority, bring):
    url = secure.add(upstream.name, upstream.path).replace("127.0.0.1", "git.test")
    old = secure.add("old", upstream.path, behaviour=f"moved:301:{url}").replace("127.0.0.1", "git.test")
    with Proxy({"git.test": "127.0.0.1"}) as proxy:
        route = Route(proxy=proxy.url, ca_bundle=authority.bundle)
        assert bring(old, routes={host_of(url): route}).moved_to == url
    assert set(proxy.asked) == {f"CONNECT {host_of(url)}"}


def test_behind_a_proxy_literals_and_local_names_are_refused_before_it_is_asked(upstream, bring, settings):
    settings.ALLOW_PRIVATE_UPSTREAMS = AllowList()
    with Proxy({}) as proxy:
        for host in ("127.0.0.1", "10.0.0.1", "localhost", "metadata.google.internal"):
            with pytest.raises(Blocked):
                bring(f"http://{host}/x.git", routes={host: Route(proxy=proxy.url)})
    assert proxy.asked == []


def test_proxies_of_the_environment_are_not_used(git_server, upstream, bring, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert bring(git_server.add(upstream.name, upstream.path)).refs_changed > 0


@pytest.mark.django_db
def test_a_host_is_reached_as_its_row_says(authority):
    from mirroring.models import Host
    from mirroring.upstream.access import contact

    Host.objects.create(
        name="git.test",
        proxy="http://p.test:3128",
        ca_bundle=str(authority.bundle),
        known_hosts=["ssh-ed25519 AAAA"],
    )

    made = contact.to("https://git.test/x.git")

    assert (made.proxy, made.ca_bundle, made.addresses) == ("http://p.test:3128", authority.bundle, ())
    assert made.known_hosts == ("ssh-ed25519 AAAA",)


@pytest.mark.django_db
def test_a_file_that_this_worker_lacks_is_our_own_trouble(tmp_path):
    from mirroring.models import Host
    from mirroring.upstream.access import contact

    Host.objects.create(name="git.test", ca_bundle=str(tmp_path / "gone.pem"))

    with pytest.raises(GitError, match="cannot be read on this worker") as caught:
        contact.to("https://git.test/x.git")
    assert caught.value.outcome is Outcome.RESOURCE


@pytest.mark.django_db
def test_of_a_host_that_was_read_the_way_is_known_and_of_others_it_is_looked_up(django_assert_num_queries):
    from mirroring.models import Host
    from mirroring.upstream.access import contact

    first = Host.objects.create(name="first.example", proxy="http://proxy.example:3128")
    Host.objects.create(name="second.example", proxy="http://other.example:3128")
    route_to = contact.known(first)

    with django_assert_num_queries(0):
        assert route_to("first.example").proxy == "http://proxy.example:3128"
    assert route_to("second.example").proxy == "http://other.example:3128"
    assert route_to("third.example") == contact.Route()
