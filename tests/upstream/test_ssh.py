"""SSH, against a real sshd: its keys are pinned, and nothing of this machine's own configuration counts."""

import subprocess
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.access import contact, ssh
from mirroring.upstream.access.contact import Route
from mirroring.upstream.access.credentials import Secret, SecretKind
from mirroring.upstream.errors import Blocked, GitError
from mirroring.upstream.git.bounds import NO_BOUNDS, Bounds
from mirroring.upstream.policy.urls import parse
from tests.lab.fixtures import needs_sshd
from tests.lab.proxy import Proxy
from tests.lab.ssh_server import SshServer, make_key, public
from tests.making import heads_and_tags, refs_of
from tests.probe.asking import commit, make_bare

pytestmark = [pytest.mark.one_database, needs_sshd]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    with SshServer(tmp_path_factory.mktemp("sshd")) as server:
        yield server


def key_of(path):
    return Secret(SecretKind.SSH, private_key=Path(path).read_text())


@pytest.fixture
def fetch(bring, sshd):
    """Return a function that imports over ssh, with the server's key pinned unless told otherwise."""

    def go(url, *, known=None, key=None, proxy=None, limits=NO_BOUNDS):
        route = Route(known_hosts=(sshd.host_key,) if known is None else tuple(known), proxy=proxy)
        return bring(
            url, secret=key_of(key or sshd.client_key), routes={parse(url).host: route}, limits=limits
        )

    return go


def test_a_repository_is_fetched_over_ssh(sshd, upstream, fetch, repository):
    fetched = fetch(sshd.url(upstream.path))

    assert fetched.refs_changed > 0
    assert refs_of(repository.path) == heads_and_tags(upstream.path)
    assert not list(repository.path.rglob("known_hosts"))


def test_a_repository_of_sha256_is_fetched_over_ssh(sshd, fetch, repository, tmp_path):
    path = make_bare(tmp_path / "wide.git", "sha256", 3)

    assert fetch(sshd.url(path)).refs_changed > 0
    commit(path, "refs/heads/main", "another")
    assert fetch(sshd.url(path)).refs_changed == 1

    assert refs_of(repository.path) == heads_and_tags(path)


def test_ssh_connects_to_the_address_that_was_judged_and_asks_no_dns(sshd, upstream, fetch, names):
    names["git.test"] = ["127.0.0.1"]

    assert fetch(sshd.url(upstream.path).replace("127.0.0.1", "git.test")).refs_changed > 0


def test_another_key_of_the_server_ends_it_and_says_what_to_do(sshd, upstream, fetch, tmp_path):
    make_key(tmp_path / "other")

    with pytest.raises(GitError, match=r"not one of those pinned.*manage.py host keys 127.0.0.1:") as caught:
        fetch(sshd.url(upstream.path), known=[public(tmp_path / "other")])
    assert caught.value.outcome is Outcome.BLOCKED


def test_a_server_without_a_pinned_key_is_not_contacted(sshd, upstream, fetch):
    with pytest.raises(Blocked, match=r"no host key of 127\.0\.0\.1:.* is known"):
        fetch(sshd.url(upstream.path), known=[])


def test_a_key_that_is_not_let_in_is_a_matter_of_the_credential(sshd, upstream, fetch, tmp_path):
    with pytest.raises(GitError) as caught:
        fetch(sshd.url(upstream.path), key=make_key(tmp_path / "stranger"))
    assert caught.value.outcome is Outcome.AUTH


def test_a_repository_that_is_not_there_is_gone(sshd, fetch):
    with pytest.raises(GitError) as caught:
        fetch(sshd.url(Path("/nowhere/x.git")))
    assert caught.value.outcome is Outcome.GONE


def test_what_a_path_says_is_read_by_no_shell_of_ours(sshd, fetch, tmp_path):
    with pytest.raises(GitError):
        fetch(sshd.url(Path(f"/x/$(touch${{IFS}}{tmp_path}/ran);`touch${{IFS}}{tmp_path}/ran`/y.git")))
    assert not (tmp_path / "ran").exists()


def test_the_configuration_and_keys_of_this_machine_do_not_count(
    sshd, upstream, fetch, monkeypatch, tmp_path
):
    # The stranger's key is refused although an agent of ours holds the right one.
    monkeypatch.setenv("GIT_SSH_COMMAND", "false")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nonexistent")
    monkeypatch.setenv("GIT_SSH", "/bin/false")

    assert fetch(sshd.url(upstream.path)).refs_changed > 0


HANGS = "sleep 60"
DRIPS = "printf 00ff; while :; do printf a; sleep 0.1; done"


@pytest.mark.parametrize("command", [HANGS, DRIPS])
def test_a_server_that_sends_next_to_nothing_is_given_up_by_the_idle_deadline(
    command, sshd, upstream, fetch, repository
):
    slow = sshd.key_that_runs("slow", command)
    began = time.monotonic()

    with pytest.raises(GitError) as failure:
        fetch(sshd.url(upstream.path), key=slow, limits=Bounds(idle=timedelta(seconds=2)))

    assert failure.value.outcome is Outcome.HUNG
    assert "next to nothing for 2 s" in failure.value.detail
    assert time.monotonic() - began < 15
    assert not [each for each in running() if "ssh" in each and str(repository.path) in each]


def running():
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(each.read_text(errors="replace"))
    return found


def test_ssh_goes_through_a_proxy(sshd, upstream, fetch):
    url = sshd.url(upstream.path).replace("127.0.0.1", "git.test")
    with Proxy({"git.test": "127.0.0.1"}) as proxy:
        assert fetch(url, proxy=proxy.url).refs_changed > 0
        with pytest.raises(GitError):
            fetch(url.replace("git.test", "other.test"), proxy=proxy.url)
    assert proxy.asked[0] == f"CONNECT git.test:{sshd.port}"


def test_the_keys_that_a_server_shows_can_be_looked_at(sshd, upstream):
    shown = ssh.scan(contact.to(sshd.url(upstream.path), route_to=contact.direct))

    assert shown == [sshd.host_key]
    assert ssh.fingerprint(shown[0]) in fingerprint_by_ssh(sshd.folder / "host")


def fingerprint_by_ssh(path):
    return subprocess.run(
        ["ssh-keygen", "-lf", f"{path}.pub"], capture_output=True, text=True, check=True
    ).stdout


def test_of_several_addresses_one_that_answers_is_taken(sshd, upstream, fetch, names):
    names["git.test"] = [("127.0.0.9", "127.0.0.1")]

    assert fetch(sshd.url(upstream.path).replace("127.0.0.1", "git.test")).refs_changed > 0


@pytest.mark.parametrize(
    "line", ["ssh-ed25519 AAAA", "ssh-dss AAAA", "x", "* ssh-ed25519 AAAA", "ssh-rsa AAAA\nx y"]
)
def test_what_is_no_key_is_not_taken_for_one(line):
    assert not ssh.is_key(line)
