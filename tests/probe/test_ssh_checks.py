"""Checks over SSH, of a real sshd: one connection for all who may share it, and only while it may be used."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mirroring import catalog
from mirroring.models import Credential, CredentialKind, Host, ImportState, Mirror
from mirroring.upstream.access import credentials
from mirroring.upstream.client import masters, ssh_listing
from mirroring.upstream.client.asks import Doubt
from mirroring.upstream.client.probe import Way
from tests.lab.fixtures import needs_sshd
from tests.lab.repositories import push_commits
from tests.lab.ssh_server import SshServer, make_key, public
from tests.making import NOW, build_mirror, heads_and_tags, state_of, wait_until
from tests.probe.asking import commit

pytestmark = needs_sshd


@pytest.fixture
def sshd(tmp_path):
    with SshServer(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def keys_place(monkeypatch):
    """A folder for keys of this test's own, whose name is short enough for sockets."""
    with TemporaryDirectory(prefix="lab-") as folder:
        monkeypatch.setattr(credentials, "IN_MEMORY", Path(folder))
        yield Path(folder)


@pytest.fixture
def shop(fleet, sshd, repositories_folder, make_upstream, settings, tmp_path, keys_place):
    settings.CREDENTIAL_KEYS = []
    settings.CREDENTIAL_KEYS_FILE = tmp_path / "credential_keys"
    return Shop(fleet, sshd, make_upstream)


class Shop:
    """Mirrors of an SSH server that were really imported."""

    def __init__(self, fleet, sshd, make_upstream):
        from tests.probe.round_trip import RoundTrip

        self.fleet, self.sshd = fleet, sshd
        self.upstream = make_upstream("plain")
        self.url = sshd.url(self.upstream.path)
        self.credential = self.keep("robot", sshd.client_key)
        self.trip = RoundTrip(fleet, _NoServer(self.url), self.upstream)
        Host.objects.create(name=f"127.0.0.1:{sshd.port}", known_hosts=[sshd.host_key], slots=1_000_000)

    def keep(self, name, key):
        given = catalog.Given(secret=key.read_text(), hosts=[f"127.0.0.1:{self.sshd.port}"])
        return catalog.add_credential(
            name, kind=CredentialKind.SSH_KEY, given=given, group=None, by="test", now=NOW
        )

    def mirror(self, url="", **given):
        return self.trip.imported(url=url or self.url, credential=self.credential, **given)

    def check(self):
        """Have all checks due, and run the checker. Return what it counted, without zeros."""
        due = self.fleet.tracker.now()
        ImportState.objects.filter(check_due_at__isnull=False).update(check_due_at=due)
        return +self.fleet.run()

    def configured(self, line, *, instead_of=""):
        """Configure the server otherwise from now on."""
        config = self.sshd.folder / "config"
        config.write_text(config.read_text().replace(instead_of, "") + f"{line}\n")
        os.kill(self.sshd._sshd.pid, signal.SIGHUP)
        time.sleep(0.5)

    def logins(self):
        """Return the fingerprint of each login so far: as many as connections."""
        log = (self.sshd.folder / "log").read_text()
        return [line.rpartition(" ")[2] for line in log.split("\n") if "Accepted publickey" in line]

    @property
    def masters(self):
        return [held.master for held in self.fleet.loop.masters._held.values()]


class _NoServer:
    def __init__(self, url):
        self.url = url

    def add(self, name, path):
        return self.url


def test_a_repository_of_sha256_is_imported_and_checked_over_ssh(shop, bare):
    path = bare("sha256")
    mirror = shop.mirror(shop.sshd.url(path))
    assert heads_and_tags(mirror.repository) == heads_and_tags(path)
    assert shop.check()["unchanged"] == 1
    commit(path, "refs/heads/main", "another")
    assert shop.check()["changed"] == 1


def test_many_checks_go_over_one_connection_and_an_unchanged_mirror_takes_no_slot(shop, bare):
    chosen = [shop.mirror(), *(shop.mirror(shop.sshd.url(bare(refs=n))) for n in (1, 2))]
    assert {state_of(each).listed_way for each in chosen} == {Way.SSH}
    before = len(shop.logins())
    for _ in range(3):
        assert shop.check()["unchanged"] == 3
    assert len(shop.logins()) - before == 1
    assert all(state_of(each).import_due_at is None for each in chosen)
    assert shop.fleet.woken == []


def test_an_ssh_mirror_is_not_imported_for_being_old(shop):
    mirror = shop.mirror()
    ImportState.objects.update(last_update_at=shop.fleet.tracker.now() - timedelta(days=2))
    assert shop.check()["unchanged"] == 1
    assert state_of(mirror).import_due_at is None


@pytest.mark.parametrize("kind", ["commit", "branch", "tag", "delete", "force", "head"])
def test_every_kind_of_push_is_found(shop, kind):
    mirror = shop.mirror()
    push_commits(shop.upstream, seed=5, kind=kind)
    assert shop.check()["changed"] == 1
    shop.trip.import_again(mirror)
    assert heads_and_tags(mirror.repository) == heads_and_tags(shop.upstream.path)
    assert shop.check()["unchanged"] == 1


@pytest.mark.parametrize("protocol", [2, 0])
def test_import_and_check_agree_whatever_the_server_speaks(shop, bare, protocol):
    if protocol == 0:
        shop.configured("AcceptEnv NOTHING", instead_of="AcceptEnv GIT_PROTOCOL")
    path = bare()
    shop.mirror(shop.sshd.url(path))
    assert shop.check()["unchanged"] == 1
    commit(path, "refs/heads/other", "more")
    assert shop.check()["changed"] == 1


def test_a_path_is_asked_for_as_git_asks_for_it(shop, tmp_path):
    from tests.probe.asking import make_bare

    path = make_bare(tmp_path / "it's $(a) 100%! ~x.git", "sha1", 1)
    url = f"ssh://{shop.sshd.user}@127.0.0.1:{shop.sshd.port}" + str(path).replace("%", "%25").replace(
        " ", "%20"
    )
    shop.mirror(url)
    before = len(shop.logins())
    assert shop.check()["unchanged"] == 1
    assert len(shop.logins()) == before + 1


def test_the_key_of_the_server_is_pinned_for_the_shared_connection(shop, tmp_path):
    mirror = shop.mirror()
    make_key(tmp_path / "other")
    Host.objects.update(known_hosts=[public(tmp_path / "other")])
    before = len(shop.logins())
    assert shop.check()[f"doubtful: {Doubt.BLOCKED}"] == 1
    assert len(shop.logins()) == before
    assert state_of(mirror).import_due_at is not None


def test_a_connection_is_not_used_after_another_key_was_pinned(shop, tmp_path):
    shop.mirror()
    assert shop.check()["unchanged"] == 1
    make_key(tmp_path / "other")
    Host.objects.update(known_hosts=[public(tmp_path / "other")])
    assert shop.check()[f"doubtful: {Doubt.BLOCKED}"] == 1


def test_a_replaced_key_is_shown_at_once_and_the_connection_of_the_old_one_ends(shop, tmp_path, monkeypatch):
    shop.mirror()
    assert shop.check()["unchanged"] == 1
    [old] = shop.masters
    new = make_key(tmp_path / "new")
    (shop.sshd.folder / "authorized").write_text(public(new) + "\n")
    given = catalog.Given(secret=new.read_text())
    catalog.replace_credential(shop.credential, given=given, by="test", now=NOW, wake=lambda: None)
    assert shop.check()["unchanged"] == 1
    assert len(set(shop.logins())) == 2
    assert shop.logins()[-1] != shop.logins()[-2]
    monkeypatch.setattr(masters, "IDLE_SECONDS", 0.0)
    wait_until(lambda: not old.runs, seconds=12, what="the master of the old key ends")


def test_nothing_is_asked_for_a_mirror_whose_credential_was_taken_away(shop):
    mirror = shop.mirror()
    assert shop.check()["unchanged"] == 1
    Credential.objects.update(expires_at=NOW)
    assert shop.check()[f"doubtful: {Doubt.BLOCKED}"] == 1
    shop.trip.import_again(mirror)
    assert "ended" in state_of(mirror).last_error


def test_a_mirror_without_the_credential_does_not_use_the_connection_of_one_with_it(shop):
    shop.mirror()
    other = shop.mirror()
    assert shop.check()["unchanged"] == 2
    Mirror.objects.filter(pk=other.pk).update(credential=None)
    counted = shop.check()
    assert (counted["unchanged"], state_of(other).import_due_at is None) == (1, False)


def test_the_key_is_gone_as_soon_as_it_was_shown_and_the_folder_goes_with_the_master(shop, keys_place):
    shop.mirror()
    assert shop.check()["unchanged"] == 1
    assert len(shop.masters) == 1
    secret = shop.sshd.client_key.read_text().split("\n")[1]
    files = [file for file in keys_place.rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if secret in file.read_text()]
    assert not any(secret in each for each in _command_lines())
    shop.fleet.loop.close()
    assert list(keys_place.iterdir()) == []


def _command_lines():
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield each.read_text(errors="replace")


def test_a_connection_that_was_cut_is_replaced(shop):
    shop.mirror()
    assert shop.check()["unchanged"] == 1
    before = len(shop.logins())
    subprocess.run(["kill", "-9", *_children_of(shop.sshd._sshd.pid)], check=True)
    assert shop.check()["unchanged"] == 1
    assert len(shop.logins()) == before + 1


def test_a_connection_that_leads_nowhere_though_its_process_runs_is_replaced(shop):
    shop.mirror()
    assert shop.check()["unchanged"] == 1
    before = len(shop.logins())
    [master] = shop.masters
    master.control.unlink()

    assert shop.check()["unchanged"] == 1
    assert len(shop.logins()) == before + 1


def _children_of(pid):
    said = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True)
    return said.stdout.split()


@pytest.mark.parametrize("limit", ["IDLE_SECONDS", "OLDEST_SECONDS"])
def test_an_idle_or_old_connection_is_ended(shop, monkeypatch, limit):
    shop.mirror()
    assert shop.check()["unchanged"] == 1
    [master] = shop.masters
    monkeypatch.setattr(masters, limit, 0.0)
    wait_until(lambda: not master.runs, seconds=12, what="the master ends")
    assert shop.masters == []


def test_a_server_that_opens_one_session_at_a_time_is_asked_by_git_for_the_others(shop):
    shop.configured("MaxSessions 1")
    for branch in range(4):
        shop.mirror(ref_selection="patterns", ref_patterns=["refs/heads/main", f"refs/heads/{branch}"])
    assert shop.check()["unchanged"] == 4


def test_a_listing_beyond_the_bound_is_left_to_git(shop, monkeypatch):
    shop.mirror()
    monkeypatch.setattr(ssh_listing, "KEPT_BYTES", 100)
    before = len(shop.logins())
    assert shop.check()["unchanged"] == 1
    assert len(shop.logins()) == before + 2


def test_a_server_that_cannot_be_reached_is_left_alone_as_others_are(shop):
    for branch in range(20):
        chosen = {"ref_selection": "patterns", "ref_patterns": [f"refs/heads/{branch}"]}
        mirror = build_mirror(url=shop.url, mirror={"credential": shop.credential, **chosen})
        known = {"listed_way": Way.SSH, "upstream_digest": b"x" * 32, "import_due_at": None}
        ImportState.objects.filter(pk=mirror.pk).update(**known, check_due_at=NOW)
    shop.sshd.__exit__()
    counted = shop.check()
    assert counted["unasked"] >= 8
    assert counted["unasked"] + counted[f"doubtful: {Doubt.UNREACHABLE}"] == 20


HOLDER = """
import sys, time
from pathlib import Path
import django
django.setup()
from mirroring.upstream.access import ssh_sharing
from mirroring.upstream.access.contact import Contact
from mirroring.upstream.access.credentials import Secret, SecretKind
from mirroring.upstream.policy.urls import parse
url, key, known = sys.argv[1:]
secret = Secret(SecretKind.SSH, private_key=Path(key).read_text())
master = ssh_sharing.start(Contact(parse(url), ("127.0.0.1",), known_hosts=(known,), secret=secret))
print(master.control, flush=True)
time.sleep(60)
"""


def test_the_connection_ends_with_the_worker_that_is_killed(sshd, tmp_path):
    url = sshd.url(tmp_path / "x.git")
    command = [sys.executable, "-c", HOLDER, url, str(sshd.client_key), sshd.host_key]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        control = worker.stdout.readline().strip()
        assert _holds(control)
        worker.kill()
    wait_until(lambda: not _holds(control), seconds=5, what="the master dies with its worker")


def _holds(control):
    return any(control in line for line in _command_lines())
