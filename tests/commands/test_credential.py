"""`manage.py credential`: a secret comes in by a prompt, a pipe or a file, and never out again."""

import contextlib
import os
import pty
import subprocess
import sys

import pytest

from mirroring.models import Credential
from mirroring.rules import sealing
from tests.catalog.test_credentials import keys_file  # noqa: F401
from tests.commands.conftest import ROOT

SECRET = "correct horse battery staple"

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    return path


@pytest.fixture
def kept(manage, secret_file):
    done = manage(
        "credential", "add", "password", "robot", "--host", "h.example", "--secret-file", secret_file
    )
    assert done.code == 0, done.err
    return done


def test_a_password_from_a_file_is_kept_and_shown_by_nothing(manage, kept):
    assert Credential.objects.get().secret() == {"password": SECRET}
    for words in (["list"], ["list", "--json"], ["show", "robot"], ["show", "robot", "--json"]):
        done = manage("credential", *words)
        assert done.code == 0
        assert "robot" in done.out
        assert "horse" not in kept.out + kept.err + done.out + done.err


def test_a_generated_ssh_key_shows_its_public_half_and_fingerprint(manage):
    done = manage("credential", "add", "ssh-key", "deploy", "--host", "h.example", "--generate")

    row = Credential.objects.get()
    assert row.public_key.startswith("ssh-ed25519 ")
    assert row.public_key in done.out
    shown = manage("credential", "show", "deploy").out
    assert row.fingerprint in shown
    assert "PRIVATE" not in done.out + shown


@pytest.mark.django_db(transaction=True)
def test_a_password_is_read_from_standard_input(process):
    done = process(
        "credential", "add", "password", "robot", "--host", "h.example", stdin=f"{SECRET}\n".encode()
    )

    assert (done.code, done.err) == (0, "")
    assert Credential.objects.get().username == "git"


def rest_of(terminal):
    """Return what is said until nobody has the other end open any more."""
    said = b""
    with contextlib.suppress(OSError):
        while True:
            said += os.read(terminal, 1000)
    return said


@pytest.mark.django_db(transaction=True)
def test_a_password_is_asked_for_at_a_terminal_without_being_shown(child_environment):
    controller, terminal = pty.openpty()
    command = [sys.executable, "manage.py", "credential", "add", "password", "robot", "--host", "h.example"]
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env=child_environment(),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    said = b""
    while b"token: " not in said:
        said += os.read(controller, 1000)
    os.write(controller, f"{SECRET}\n".encode())
    said += rest_of(controller)
    os.close(controller)

    assert child.wait(30) == 0
    assert b"horse" not in said
    assert Credential.objects.filter(name="robot").exists()


def test_a_credential_is_replaced_and_removed(manage, kept, tmp_path):
    other = tmp_path / "other"
    other.write_text("another secret")

    assert manage("credential", "replace", "robot", "--secret-file", other).code == 0
    assert Credential.objects.get().secret() == {"password": "another secret"}
    assert manage("credential", "remove", "robot").code == 0
    assert not Credential.objects.exists()


def test_the_end_of_a_credential_is_shown_with_a_warning_before_it_comes(manage, kept):
    assert "ENDS SOON" not in manage("credential", "list").out
    soon = manage("credential", "edit", "robot", "--expires", "2000-01-01")

    assert "ended" in soon.out
    assert manage("credential", "show", "robot", "--json").data["expiry"] == "past"
    assert manage("credential", "edit", "robot", "--expires", "never", "--json").data["expiry"] == "none"


def test_a_mirror_shows_its_credential_and_the_warning(manage, kept):
    added = manage("mirror", "add", "https://h.example/a/b.git", "--credential", "robot", "--json")
    manage("credential", "edit", "robot", "--expires", "2000-01-01")

    assert added.data["credential"] == "robot"
    assert "robot, ended" in manage("mirror", "show", "b").out
    assert manage("credential", "show", "robot", "--json").data["mirrors"] == ["default/b"]
    assert manage("mirror", "edit", "b", "--no-credential", "--json").data["credential"] is None


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["credential", "show", "nothing"], "There is no credential 'nothing'"),
        (
            ["credential", "add", "password", "x", "--host", "h", "--secret-file", "/nonexistent"],
            "cannot be read",
        ),
        (["credential", "add", "password", "x", "--host", "a b", "--secret-file", os.devnull], "is empty"),
        (
            ["credential", "add", "ssh-key", "x", "--host", "h", "--secret-file", __file__],
            "no private SSH key",
        ),
        (
            ["mirror", "add", "https://evil.example/a/b", "--credential", "robot"],
            "is not sent to evil.example",
        ),
        (
            ["credential", "replace", "robot", "--host", "evil.example", "--secret-file", os.devnull],
            "is empty",
        ),
    ],
)
def test_a_refusal_is_one_line(manage, kept, words, line):
    done = manage(*words)

    assert done.code == 1
    assert line in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert Credential.objects.get().hosts == ["h.example"]


def test_keys_are_rotated_and_made(manage, kept):
    before = Credential.objects.get().sealed

    done = manage("credential", "rotate-keys", "--json")

    assert done.data["resealed"] == 1
    assert Credential.objects.get().sealed != before
    assert sealing.read_key(manage("credential", "new-key").out)


def test_a_key_list_that_cannot_be_used_says_what_to_do(manage, kept, settings):
    settings.CREDENTIAL_KEYS = ["nonsense"]

    done = manage("credential", "rotate-keys")

    assert done.code == 1
    assert "CREDENTIAL_KEYS cannot be used" in done.err


def test_the_list_of_mirrors_shows_credentials_and_is_narrowed_by_them(manage, kept):
    manage("mirror", "add", "https://h.example/a/open")
    assert "credential" not in manage("mirror", "list").out
    manage("mirror", "add", "https://h.example/a/closed", "--credential", "robot")

    shown = manage("mirror", "list").out
    listed = manage("mirror", "list", "--credential", "robot", "--json")

    assert "robot" in next(line for line in shown.splitlines() if "closed" in line)
    assert "robot" not in next(line for line in shown.splitlines() if "open" in line)
    assert [(each["name"], each["credential"]) for each in listed.data] == [("default/closed", "robot")]
    assert SECRET not in shown + listed.out
    assert manage("mirror", "list", "--credential", "nobody").code == 1
