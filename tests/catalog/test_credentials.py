"""What people do to credentials: what is checked, what is kept sealed, and whom a replacement wakes."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection

from mirroring import catalog
from mirroring.catalog.credentials import CredentialInUse
from mirroring.catalog.errors import Invalid, NameTaken, NotNow, Unknown
from mirroring.models import Credential, CredentialKind, Expiry, Group, ImportState, key_list
from mirroring.models.key_list import KeysUnusable
from mirroring.rules import sealing
from tests.catalog.samples import LATER, NOW, URL, made, nobody, state

HOST = "git.example.org"
SECRET = "correct horse battery staple"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def keys_file(settings, tmp_path: Path) -> Path:
    settings.CREDENTIAL_KEYS = []
    settings.CREDENTIAL_KEYS_FILE = tmp_path / "credential_keys"
    return settings.CREDENTIAL_KEYS_FILE


def keep(name="robot", *, kind=CredentialKind.PASSWORD, group=None, secret=SECRET, hosts=(HOST,), **given):
    made_of = catalog.Given(secret=secret, hosts=hosts, **given)
    return catalog.add_credential(name, kind=kind, given=made_of, group=group, by="test", now=NOW)


def replace(row, *, wake=nobody, **given):
    given.setdefault("secret", "another secret")
    return catalog.replace_credential(row, given=catalog.Given(**given), by="test", now=LATER, wake=wake)


def raw_rows() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM mirroring_credential")
        return repr(cursor.fetchall())


def test_a_secret_is_in_the_database_sealed_only():
    row = keep(username="robot")

    assert Credential.objects.get(pk=row.pk).secret() == {"password": SECRET}
    assert SECRET not in raw_rows()


def test_a_sealed_secret_moved_into_another_row_does_not_open():
    victim, thief = keep("victim"), keep("thief")
    Credential.objects.filter(pk=thief.pk).update(sealed=victim.sealed)

    with pytest.raises(sealing.CannotOpen):
        Credential.objects.get(pk=thief.pk).secret()


def test_the_keys_are_in_a_file_that_only_we_may_read(keys_file):
    keep()

    assert stat.S_IMODE(keys_file.stat().st_mode) == 0o600
    assert not list(keys_file.parent.glob(".credential_keys*"))


def test_keys_that_others_may_read_are_not_used(keys_file):
    keep()
    keys_file.chmod(0o644)

    with pytest.raises(KeysUnusable, match="chmod 600"):
        keep("other")


def test_keys_of_the_environment_go_before_the_file(settings, keys_file):
    settings.CREDENTIAL_KEYS = [sealing.new_key()]

    row = keep()

    assert sealing.key_of(row.sealed) == sealing.key_id(sealing.read_key(settings.CREDENTIAL_KEYS[0]))
    assert not keys_file.exists()


def test_a_rotation_seals_every_secret_and_token_by_the_new_key(keys_file):
    row = keep()
    row.set_token("short-lived", expires_at=LATER)
    row.save()
    before = key_list.read()[0]

    done = catalog.rotate_keys()

    row.refresh_from_db()
    assert done.resealed == 1
    assert sealing.key_of(row.sealed) == sealing.key_of(row.sealed_token) == done.sealed_by
    assert done.sealed_by != sealing.key_id(before)
    assert (row.secret(), row.token()) == ({"password": SECRET}, "short-lived")
    assert stat.S_IMODE(keys_file.stat().st_mode) == 0o600


def test_a_process_that_read_a_row_before_a_rotation_still_opens_it():
    keep()
    held = Credential.objects.get()

    catalog.rotate_keys()

    assert held.secret() == {"password": SECRET}


def test_a_second_rotation_forgets_what_no_row_needs():
    keep()
    first = key_list.read()[0]
    catalog.rotate_keys()

    done = catalog.rotate_keys()

    assert (done.forgotten, first in key_list.read(), len(key_list.read())) == (1, False, 2)


def test_a_rotation_names_what_no_key_opens_and_goes_on():
    row = keep("lost")
    Credential.objects.filter(pk=row.pk).update(
        sealed=sealing.seal("x", keys=[sealing.read_key(sealing.new_key())], context="other")
    )
    keep("fine")

    done = catalog.rotate_keys()

    assert (done.unopened, done.resealed) == (("lost",), 1)


def test_a_rotation_with_keys_of_the_environment_says_which_are_free_to_go(settings):
    settings.CREDENTIAL_KEYS = [old := sealing.new_key()]
    row = keep()
    settings.CREDENTIAL_KEYS = [new := sealing.new_key(), old]

    done = catalog.rotate_keys()

    row.refresh_from_db()
    assert done.sealed_by == sealing.key_id(sealing.read_key(new)) == sealing.key_of(row.sealed)
    assert done.unneeded == (sealing.key_id(sealing.read_key(old)),)


def test_a_credential_needs_a_host():
    with pytest.raises(Invalid, match="which host"):
        keep(hosts=())


@pytest.mark.parametrize(
    "host", ["", "https://git.example.org", "git.example.org/x", "a b", "*.example.org", "u@h"]
)
def test_what_is_no_host_is_refused(host):
    with pytest.raises(Invalid, match="is no host"):
        keep(hosts=(host,))


def test_hosts_are_kept_as_mirrors_name_theirs():
    assert keep(hosts=("GIT.example.org:443", "b.example:8443")).hosts == [
        "b.example:8443",
        "git.example.org",
    ]


@pytest.mark.parametrize("secret", ["", "\n", "two\nlines", "nul\0", "x" * 5000])
def test_what_is_no_password_is_refused_and_not_repeated(secret):
    with pytest.raises(Invalid) as refused:
        keep(secret=secret)

    assert "two" not in str(refused.value)


def test_a_token_as_user_name_is_refused_for_it_would_be_shown():
    with pytest.raises(Invalid, match="looks like a token"):
        keep(username="ghp_" + "a1B2" * 9)


def test_a_name_is_taken_once_for_all_groups_and_once_in_each():
    group = Group.objects.create(name="team")
    keep()
    keep(group=group)

    for owner in (None, group):
        with pytest.raises(NameTaken):
            keep(group=owner)
    assert catalog.find_credential("team/robot").group == group
    assert catalog.find_credential("robot").group is None


def test_an_unknown_credential_is_named():
    with pytest.raises(Unknown, match="credential list"):
        catalog.find_credential("nothing")


def test_a_mirror_on_another_host_cannot_use_a_credential():
    with pytest.raises(NotNow, match=r"is bound to git\.example\.org and is not sent to evil\.example"):
        made("https://evil.example/team/project.git", credential=keep())


def test_a_mirror_cannot_take_its_credential_to_another_host():
    mirror = made(credential=keep())

    with pytest.raises(NotNow, match="not sent to"):
        catalog.edit(mirror, now=LATER, wake=nobody, url="https://evil.example/team/project.git")
    mirror.refresh_from_db()
    assert mirror.url == URL


def test_a_mirror_over_plain_http_can_use_a_credential_that_says_so_only():
    url = "http://git.example.org/team/project.git"
    with pytest.raises(NotNow, match="not sent over http"):
        made(url, credential=keep())

    assert made(url, credential=keep("clear", allow_http=True)).credential.path == "clear"


def test_a_mirror_of_another_group_cannot_use_a_groups_credential():
    row = keep(group=Group.objects.create(name="team"))

    with pytest.raises(NotNow, match="belongs to the group team"):
        made(credential=row, group="other")
    mirror = made(credential=row, group="team")
    with pytest.raises(NotNow, match="belongs to the group team"):
        catalog.edit(mirror, now=LATER, wake=nobody, group="other")


def test_a_mirror_gives_its_credential_up():
    mirror = made(credential=keep())

    edited = catalog.edit(mirror, now=LATER, wake=nobody, credential=catalog.NoCredential())

    assert (edited.changed, edited.asked_now, edited.mirror.credential) == (("credential",), True, None)


def test_a_credential_that_a_mirror_uses_is_not_removed():
    row = keep()
    mirror = made(credential=row)

    with pytest.raises(CredentialInUse, match=mirror.path):
        catalog.remove_credential(row, by="test")
    catalog.edit(mirror, now=LATER, wake=nobody, credential=catalog.NoCredential())
    catalog.remove_credential(row, by="test")
    assert not Credential.objects.exists()


def test_a_new_secret_makes_the_mirrors_due_that_were_refused(django_capture_on_commit_callbacks):
    row = keep()
    refused, healthy = made(credential=row), made(URL + "2", name="healthy", credential=row)
    far = NOW + timedelta(days=1)
    ImportState.objects.filter(pk=refused.pk).update(
        last_outcome="auth", hard_failed=True, import_due_at=None, next_execution_at=far
    )
    ImportState.objects.filter(pk=healthy.pk).update(
        last_outcome="changed", import_due_at=far, next_execution_at=far
    )
    woken = []

    with django_capture_on_commit_callbacks(execute=True):
        done = replace(row, wake=lambda: woken.append(True))

    assert (done.released, woken) == (1, [True])
    assert state(refused).import_due_at <= LATER
    assert not state(refused).hard_failed
    assert state(healthy).import_due_at == far
    assert Credential.objects.get().secret() == {"password": "another secret"}


def test_a_new_secret_forgets_the_refusal_and_the_token_of_the_old_one():
    row = keep()
    row.set_token("short-lived", expires_at=LATER)
    row.last_refused_at, row.last_refusal = NOW, "403"
    row.save()

    replace(row)

    row.refresh_from_db()
    assert (row.token(), row.token_expires_at, row.last_refused_at, row.last_refusal) == ("", None, None, "")


def test_a_replacement_keeps_what_it_does_not_name():
    row = keep(username="robot", allow_http=True)

    kept = replace(row).credential

    assert (kept.username, kept.allow_http, kept.hosts) == ("robot", True, [HOST])


def test_the_end_is_near_from_the_warning_on():
    row = keep(expires_at=NOW + timedelta(days=10))

    def at(days, warning=7):
        return row.expiry(now=NOW + timedelta(days=days), warning=timedelta(days=warning))

    assert [at(0), at(3), at(10)] == [Expiry.FAR, Expiry.SOON, Expiry.PAST]
    assert keep("endless").expiry(now=NOW, warning=timedelta(days=7)) is Expiry.NONE
