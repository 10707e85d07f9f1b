"""Which addresses are contacted, and what is said of those that are not."""

import socket
import time

import pytest

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.errors import Blocked, GitError
from mirroring.upstream.policy import guard
from mirroring.upstream.policy.guard import AllowList
from mirroring.upstream.policy.urls import parse

pytestmark = pytest.mark.one_database

NOTHING = AllowList()
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1"]
PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.8.8.8",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.1.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


@pytest.fixture
def answers(monkeypatch):
    """Let DNS answer with the addresses in this list, each time anew."""
    found: list[str] = []

    def look_up(host, port, **_):
        return [(0, 0, 0, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return found


def of(host):
    return parse(f"https://{f'[{host}]' if ':' in host else host}/team/x.git")


def line(caught):
    return caught.value.detail.partition("start it with ALLOW_PRIVATE_UPSTREAMS=")[2]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_contacted(address, answers):
    answers.append(address)

    assert guard.resolve(of("git.example.org"), allowed=NOTHING) == (address,)
    assert guard.resolve(of(address), allowed=NOTHING) == (address,)


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused_as_a_name_and_as_a_literal(address, answers):
    answers.append(address)

    for url in (of("git.example.org"), of(address)):
        with pytest.raises(Blocked) as caught:
            guard.resolve(url, allowed=NOTHING)
        assert caught.value.outcome is Outcome.BLOCKED
        # The line that is printed is the one that allows it.
        allowed = AllowList.parse(line(caught).split(","))
        assert guard.resolve(url, allowed=allowed)


@pytest.mark.parametrize("order", [1, -1])
def test_one_address_that_is_not_public_is_enough(order, answers):
    answers += ["8.8.8.8", "10.1.2.3", "2606:4700::1111"][::order]

    with pytest.raises(Blocked):
        guard.resolve(of("git.example.org"), allowed=NOTHING)


def test_all_addresses_are_returned_once(answers):
    answers += ["8.8.8.8", "1.1.1.1", "8.8.8.8", "::ffff:8.8.8.8"]

    assert guard.resolve(of("git.example.org"), allowed=NOTHING) == ("8.8.8.8", "1.1.1.1")


def test_of_many_addresses_all_are_judged_and_few_are_tried(answers):
    answers += [f"8.8.{number // 250}.{number % 250 + 1}" for number in range(1000)]

    assert guard.resolve(of("git.example.org"), allowed=NOTHING) == tuple(answers[: guard.MOST_ADDRESSES])

    answers.append("10.1.2.3")
    with pytest.raises(Blocked):
        guard.resolve(of("git.example.org"), allowed=NOTHING)


def test_a_name_is_asked_at_every_contact(answers):
    answers.append("8.8.8.8")
    guard.resolve(of("git.example.org"), allowed=NOTHING)
    answers[:] = ["127.0.0.1"]

    with pytest.raises(Blocked):
        guard.resolve(of("git.example.org"), allowed=NOTHING)


def test_the_address_of_this_machine_is_refused_though_it_is_public(answers, monkeypatch):
    monkeypatch.setattr(guard, "_own_ipv4", lambda: [guard.ipaddress.ip_address("8.8.4.4")])
    answers.append("8.8.4.4")

    with pytest.raises(Blocked) as caught:
        guard.resolve(of("git.example.org"), allowed=AllowList.parse(["git.example.org"]))
    assert line(caught) == "git.example.org,8.8.4.4/32"


def test_the_addresses_of_this_machine_are_known():
    assert "127.0.0.1" in map(str, guard._own())
    for address in guard._own_ipv4():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))  # Only an address of our own can be bound.


def test_an_allowed_network_allows_its_addresses_and_no_others(answers):
    allowed = AllowList.parse(["10.0.0.0/8", " fd00::/8 ", ""])

    assert guard.resolve(of("10.1.2.3"), allowed=allowed) == ("10.1.2.3",)
    assert guard.resolve(of("fd12::1"), allowed=allowed) == ("fd12::1",)
    assert guard.resolve(of("::ffff:10.1.2.3"), allowed=allowed) == ("10.1.2.3",)
    with pytest.raises(Blocked) as caught:
        guard.resolve(of("192.168.0.1"), allowed=allowed)
    assert line(caught) == "10.0.0.0/8,fd00::/8,192.168.0.1/32"


def test_an_allowed_name_allows_private_addresses_but_not_this_machine_and_no_metadata_service(answers):
    allowed = AllowList.parse(["git.corp.example"])
    answers.append("10.1.2.3")

    assert guard.resolve(of("git.corp.example"), allowed=allowed) == ("10.1.2.3",)
    with pytest.raises(Blocked):
        guard.resolve(of("x.git.corp.example"), allowed=allowed)
    for address in ("127.0.0.1", "169.254.169.254", "fd00:ec2::254", "0.0.0.0"):
        answers[:] = [address]
        with pytest.raises(Blocked):
            guard.resolve(of("git.corp.example"), allowed=allowed)


def test_a_refusal_does_not_tell_what_a_name_stands_for(answers):
    answers.append("10.1.2.3")

    with pytest.raises(Blocked) as caught:
        guard.resolve(of("git.corp.example"), allowed=NOTHING)

    assert "10.1.2.3" not in caught.value.detail
    assert line(caught) == "git.corp.example"


def test_an_address_in_place_of_its_network_is_answered_with_the_network():
    with pytest.raises(ValueError, match=r"127\.0\.0\.1/8 has bits set behind its /: write 127\.0\.0\.0/8"):
        AllowList.parse(["127.0.0.1/8"])


@pytest.mark.parametrize("entry", ["10.0.0", "http://h", "h:80", "*.corp", "-h", "1.2.3.4.5"])
def test_an_entry_that_is_neither_network_nor_name_is_refused(entry):
    with pytest.raises(ValueError, match="neither a network"):
        AllowList.parse([entry])


def test_a_name_without_an_address_is_a_passing_trouble(monkeypatch):
    def nothing(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)

    with pytest.raises(GitError, match="could not resolve host") as caught:
        guard.resolve(of("git.example.org"), allowed=NOTHING)
    assert caught.value.outcome is Outcome.TRANSIENT


def test_a_resolver_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(2) or [])
    monkeypatch.setattr(guard, "RESOLVE_SECONDS", 0.2)

    with pytest.raises(GitError, match="did not answer"):
        guard.resolve(of("git.example.org"), allowed=NOTHING)


@pytest.mark.parametrize("host", ["localhost", "x.localhost", "127.0.0.1", "::1", "169.254.169.254"])
def test_what_no_dns_can_mend_is_refused_before_it_is_asked(host):
    with pytest.raises(Blocked) as caught:
        guard.check_literal(of(host), allowed=NOTHING)

    guard.check_literal(of(host), allowed=AllowList.parse(line(caught).split(",")))


@pytest.mark.parametrize(
    "host", ["git.corp.internal", "metadata", "metadata.google.internal", "10.0.0.1", "h.local"]
)
def test_behind_a_proxy_names_and_literals_are_judged(host):
    with pytest.raises(Blocked) as caught:
        guard.check_name(of(host), allowed=NOTHING)

    guard.check_name(of(host), allowed=AllowList.parse(line(caught).split(",")))
    guard.check_name(of("git.example.org"), allowed=NOTHING)
