"""Checks of private mirrors: the secret is shown to its host over TLS, to no other, and written nowhere."""

import logging

import pytest

from mirroring import catalog
from mirroring.models import CredentialKind, Host, ImportState, Mirror
from mirroring.upstream.client.asks import Doubt
from mirroring.upstream.client.target import authorization
from tests.lab.memory_upstream import MemoryUpstream, Refs, http
from tests.making import NOW, build_mirror, state_of

PASSWORD, TOKEN = "correct-horse-battery", "glpat-0123456789abcdefghij"


@pytest.fixture
def shop(fleet, tls_upstream, authority, settings, tmp_path):
    settings.CREDENTIAL_KEYS = []
    settings.CREDENTIAL_KEYS_FILE = tmp_path / "credential_keys"
    return Shop(fleet, tls_upstream, authority)


class Shop:
    """A private upstream behind TLS, and a mirror of it that was imported."""

    def __init__(self, fleet, upstream, authority):
        self.fleet, self.upstream, self.authority = fleet, upstream, authority
        fleet.upstream = upstream

    def mirror(self, username, secret):
        upstream = self.upstream
        self.trust(upstream)
        given = catalog.Given(secret=secret, username=username, hosts=[f"127.0.0.1:{upstream.port}"])
        kind = CredentialKind.PASSWORD
        self.credential = catalog.add_credential("r", kind=kind, given=given, group=None, by="t", now=NOW)
        made = self.fleet.mirror(credential=self.credential)  # What it lists now needs no password yet.
        upstream.password = authorization(username, secret).decode()
        upstream.requests.clear()
        return made

    def trust(self, upstream):
        bundle = str(self.authority.bundle)
        Host.objects.create(name=f"127.0.0.1:{upstream.port}", ca_bundle=bundle, slots=1_000_000)


@pytest.mark.parametrize(("username", "secret"), [("robot", PASSWORD), ("oauth2", TOKEN)])
def test_an_unchanged_private_mirror_is_settled_by_a_check(shop, username, secret, caplog):
    caplog.set_level(logging.DEBUG)
    mirror = shop.mirror(username, secret)
    assert shop.fleet.run()["unchanged"] == 1
    assert state_of(mirror).import_due_at is None
    assert {request.headers["authorization"] for request in shop.upstream.requests} == {
        shop.upstream.password
    }
    assert secret not in caplog.text
    assert shop.upstream.password.removeprefix("Basic ") not in caplog.text


def test_a_change_of_a_private_upstream_is_found(shop):
    mirror = shop.mirror("robot", PASSWORD)
    shop.upstream.repositories["a"].push()
    assert shop.fleet.run()["changed"] == 1
    assert state_of(mirror).import_due_at is not None


def test_a_secret_that_is_refused_has_its_mirror_imported(shop):
    mirror = shop.mirror("robot", PASSWORD)
    shop.upstream.password = "Basic another"
    assert shop.fleet.run()[f"doubtful: {Doubt.REFUSED}"] == 1
    assert state_of(mirror).import_due_at is not None
    assert len(shop.upstream.requests) == 1


def test_a_replaced_secret_is_shown_at_the_next_check(shop):
    mirror = shop.mirror("robot", PASSWORD)
    assert shop.fleet.run()["unchanged"] == 1
    given = catalog.Given(secret=TOKEN)
    catalog.replace_credential(shop.credential, given=given, by="t", now=NOW, wake=lambda: None)
    shop.upstream.password = authorization("robot", TOKEN).decode()
    ImportState.objects.update(check_due_at=shop.fleet.tracker.now(), import_due_at=None)
    assert shop.fleet.run()["unchanged"] == 1
    assert state_of(mirror).import_due_at is None


def test_a_secret_is_shown_to_no_host_that_it_is_not_bound_to(shop, authority):
    mirror = shop.mirror("robot", PASSWORD)
    certificate = authority.certificate("127.0.0.1")
    with MemoryUpstream(certificate=certificate, repositories={"a": Refs.made("a", count=1)}) as other:
        shop.trust(other)
        host = Host.objects.get(name=f"127.0.0.1:{other.port}")
        moved = build_mirror(url=other.url_of("a"), mirror={"credential": shop.credential})
        Mirror.objects.filter(pk=moved.pk).update(host=host)
        due = {
            "check_due_at": NOW,
            "import_due_at": None,
            "listed_way": "v2 sha1",
            "upstream_digest": b"x" * 32,
        }
        ImportState.objects.filter(pk=moved.pk).update(**due)
        counted = shop.fleet.run()
        assert (counted["unchanged"], counted[f"doubtful: {Doubt.BLOCKED}"]) == (1, 1)
        assert other.requests == []
    assert state_of(mirror).import_due_at is None


def test_a_secret_does_not_follow_a_redirect(shop, authority):
    mirror = shop.mirror("robot", PASSWORD)
    with MemoryUpstream(certificate=authority.certificate("127.0.0.1")) as other:
        shop.trust(other)
        to = f"Location: {other.url_of('a')}/git-upload-pack"
        shop.upstream.special["a"] = lambda request: http(b"", status="307 Temporary Redirect", extra=to)
        assert shop.fleet.run()[f"doubtful: {Doubt.REFUSED}"] == 1
        assert other.requests == []
    assert state_of(mirror).import_due_at is not None
