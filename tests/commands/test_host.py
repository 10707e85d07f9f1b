"""`manage.py host`: how hosts are reached, and which SSH keys are theirs."""

import json

import pytest

from tests.lab.certificates import Authority
from tests.lab.fixtures import needs_sshd
from tests.lab.ssh_server import SshServer, make_key, public

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    with SshServer(tmp_path_factory.mktemp("sshd")) as server:
        yield server


def host(name):
    from mirroring.models import Host

    return Host.objects.get(name=name)


def test_a_host_is_set_up_shown_and_reset(manage, tmp_path):
    bundle = Authority(tmp_path).bundle

    assert (
        "Changed git.test:8443."
        in manage(
            "host", "set", "Git.Test:8443", "--proxy", "http://p.test:3128/", "--ca-bundle", str(bundle)
        ).out
    )
    shown = json.loads(manage("host", "show", "git.test:8443", "--json").out)
    assert (shown["proxy"], shown["ca_bundle"]) == ("http://p.test:3128", str(bundle))
    assert "git.test:8443" in manage("host", "list").out
    manage("host", "set", "git.test:8443", "--proxy", "none")
    assert host("git.test:8443").proxy == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("set", "git.test", "--proxy", "https://p.test:3128"), "write http://HOST:PORT"),
        (("set", "git.test", "--proxy", "http://me:secret@p.test"), "without user name"),
        (("set", "git.test", "--proxy", "http://p.test:99999"), "write http://HOST:PORT"),
        (("set", "git.test", "--ca-bundle", "ca.pem"), "no absolute path"),
        (("set", "git.test", "--ca-bundle", "/nonexistent/ca.pem"), "cannot be read here"),
        (("set", "git.test", "--ca-bundle", "/etc/hostname"), "no PEM file"),
        (("set", "git.test"), "Nothing to change"),
        (("set", "git.test", "--max-slots", "many"), "'many' is no number of imports"),
        (("set", "a b", "--proxy", "http://p.test"), "cannot be the name of a host"),
        (("set", "git.test/x", "--proxy", "http://p.test"), "cannot be the name of a host"),
        (("show", "git.test"), "There is no host"),
        (("trust", "git.test", "--key", "nonsense"), "no public key"),
        (("distrust", "git.test", "SHA256:x"), "There is no host"),
    ],
)
def test_what_cannot_be_set_is_refused_in_one_line(manage, words, says):
    done = manage("host", *words)

    assert says in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert "secret" not in done.err


def test_keys_cannot_be_fetched_through_a_proxy_nor_let_go_unpinned(manage):
    manage("host", "set", "git.test", "--proxy", "http://proxy.test:3128")

    assert "give the key itself" in manage("host", "keys", "git.test").err
    assert "has no pinned key with that fingerprint" in manage("host", "distrust", "git.test", "SHA256:x").err


@needs_sshd
def test_a_key_is_looked_at_compared_pinned_and_let_go(manage, sshd):
    name = f"127.0.0.1:{sshd.port}"
    looked = manage("host", "keys", name)
    mark = looked.out.split()[0]
    assert "None of them is pinned" in looked.out

    manage("host", "trust", name, mark)
    assert host(name).known_hosts == [sshd.host_key]
    assert f"{mark} ssh-ed25519 (pinned)" in manage("host", "keys", name).out
    manage("host", "trust", name, mark)
    assert host(name).known_hosts == [sshd.host_key]
    manage("host", "distrust", name, mark)
    assert host(name).known_hosts == []


@needs_sshd
def test_a_fingerprint_that_the_host_does_not_show_pins_nothing(manage, sshd):
    name = f"127.0.0.1:{sshd.port}"

    assert "shows no key with that fingerprint" in manage("host", "trust", name, "SHA256:x").err
    from mirroring.models import Host

    assert not Host.objects.filter(name=name).exclude(known_hosts=[]).exists()


def test_a_key_can_be_given_as_its_operator_publishes_it(manage, tmp_path):
    make_key(tmp_path / "host")
    key = public(tmp_path / "host")

    manage("host", "trust", "git.test", "--key", f"{key} a comment")

    assert host("git.test").known_hosts == [key]


def cool(name, **values):
    from datetime import timedelta

    from mirroring.models import Host
    from mirroring.tracker.connection import present

    until = present() + timedelta(seconds=40)
    known = {"cooling_until": until, "cooling_reason": "connection refused", "slots": 1, **values}
    return Host.objects.update_or_create(name=name, defaults=known)[0]


def test_a_host_that_is_left_alone_says_for_how_long_and_why(manage):
    cool("git.test")

    text = manage("host", "show", "git.test").out

    assert "git.test: cooling for " in text
    assert " s, because connection refused" in text
    assert "cooling" in manage("host", "list").out
    shown = json.loads(manage("host", "show", "git.test", "--json").out)
    assert (shown["slots"], shown["cooling_reason"]) == (0, "connection refused")


def test_a_host_that_is_left_alone_is_tried_again_on_request(manage):
    cool("git.test")

    assert "is tried again now" in manage("host", "retry", "git.test").out
    assert (host("git.test").cooling_until, host("git.test").slots) == (None, 1)
    assert "is not left alone" in manage("host", "retry", "git.test").err


def test_a_person_bounds_the_imports_of_a_host(manage):
    assert "3 slots, as a person set" in manage("host", "set", "git.test", "--max-slots", "3").out
    assert host("git.test").max_slots == 3
    assert "is no number" in manage("host", "set", "git.test", "--max-slots", "many").err

    manage("host", "set", "git.test", "--max-slots", "none")

    assert host("git.test").max_slots is None
