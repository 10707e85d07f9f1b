"""The user errors of docs/errors.md that belong to the command line: one clear line each, and no traceback."""

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mirroring import catalog
from mirroring.tracker.connection import present
from tests.catalog.samples import NOW, URL, made, nobody
from tests.commands.conftest import ROOT, Done
from tests.conftest import database_url
from tests.trial import FIRST, SECOND

pytestmark = pytest.mark.django_db(transaction=True)


def one_line(done: Done) -> str:
    """Return the one line that a refused command printed."""
    assert done.code == 1, done
    assert done.out == ""
    assert "Traceback" not in done.err
    assert done.err.endswith("\n")
    assert done.err.count("\n") == 1, done.err
    return done.err.strip()


@pytest.fixture
def typed(request, process, manage):
    """Run a command as a person would; on the second database, for which nothing differs, in this process."""
    return process if request.config.getoption("database") == "sqlite" else manage


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("mirror add nonsense", r"'nonsense' has no scheme: write https://HOST/PATH"),
        ("mirror add ftp://example.org/x", r"scheme ftp:// is not accepted: use https://"),
        ("mirror add https://me:secret@example.org/x", r"holds a user name or password: write it without"),
        ("mirror sync nothing", r"There is no mirror 'nothing': `manage.py mirror list` shows"),
        (
            "mirror add https://elsewhere.example.org/project",
            r"default/project is taken, .*: choose another name",
        ),
        (
            "mirror add https://example.org/x --pattern main",
            r"does not start with refs/: write, say, refs/heads/main",
        ),
        ("feature set nothing true", rf"no flag named 'nothing'. Defined flags: .*{FIRST}, {SECOND}"),
        (f"feature set {SECOND} true", rf"requires {FIRST}, which is off .*See to it, or"),
        ("settings set lease_seconds 2", r"lease_seconds cannot be '2': .* greater than or equal to 3"),
        ("settings set nothing 2", r"no setting 'nothing'. Settings: mirror_max_capacity, "),
        ("mirror import no-such-file", r"no-such-file cannot be read \(No such file or directory\)"),
    ],
)
def test_a_user_error_gives_one_clear_line(typed, words, line):
    made()

    assert re.search(line, one_line(typed(*words.split())))


def test_a_duration_that_is_none_is_answered_with_an_example(process):
    done = process("token", "issue", "t", "--scope", "chatops", "--expires-in", "soon")

    assert done.code == 2
    assert "'soon' is no duration: write a number and s, m, h or d, as in 15m" in done.err


def test_a_password_in_a_url_is_not_repeated(typed):
    assert "secret" not in one_line(typed("mirror", "add", "https://me:secret@example.org/x"))


def test_a_malformed_file_is_refused_with_its_line(typed, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"# ours\n{URL}\nhttps://example.org\n")

    assert re.search(
        rf"^{listed}:3: The URL names no repository: .*Nothing was added$",
        one_line(typed("mirror", "import", listed)),
    )


def test_a_removed_name_that_is_taken_is_not_restored(typed):
    mirror = catalog.remove(made(), now=present())
    made()

    line = one_line(typed("mirror", "restore", mirror.path))

    assert re.search("default/project is taken by now: rename that one, or restore under another name", line)


def test_a_database_that_was_not_migrated_says_what_to_run(process, tmp_path, request):
    if request.config.getoption("database") == "sqlite":
        elsewhere = f"sqlite:///{tmp_path}/new.sqlite3"
    else:
        elsewhere = f"{database_url()}?options=-c%20search_path%3Dnowhere"

    assert "run `manage.py migrate`" in one_line(process("mirror", "list", DATABASE_URL=elsewhere))


@pytest.mark.parametrize(
    ("url", "line"),
    [
        (
            "postgresql://me:secret@127.0.0.1:1/x",
            r"cannot be reached \(.*refused.*\): see that it runs and that DATABASE_URL",
        ),
        ("sqlite:////nowhere/at/all.sqlite3", "cannot be opened: see its owner and permissions"),
    ],
)
def test_a_database_that_cannot_be_reached_says_what_to_look_at(process, url, line):
    said = one_line(process("mirror", "list", DATABASE_URL=url))

    assert re.search(line, said)
    assert "secret" not in said


def test_a_file_that_is_no_database_is_named_as_such(process, tmp_path):
    (tmp_path / "junk").write_text("junk" * 1000)

    assert "is damaged or no SQLite file" in one_line(
        process("mirror", "list", DATABASE_URL=f"sqlite:///{tmp_path}/junk")
    )


@pytest.mark.long
def test_a_database_that_another_process_keeps_locked_is_named_as_such(process, tmp_path):
    url = f"sqlite:///{tmp_path}/locked.sqlite3"
    assert process("migrate", "--skip-checks", DATABASE_URL=url).code == 0
    with closing(sqlite3.connect(tmp_path / "locked.sqlite3", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")

        assert "try again" in one_line(process("mirror", "add", URL, DATABASE_URL=url))


def test_without_redis_a_mirror_is_added_and_the_obstacle_is_said(process):
    done = process("mirror", "add", URL, REDIS_URL="redis://127.0.0.1:1/0")

    assert (done.code, done.err) == (0, "")
    assert "No import starts without Redis" in done.out


@pytest.mark.parametrize(
    "words", ["mirror", "mirror add", f"feature set {FIRST} yes", "mirror list --status odd"]
)
def test_a_wrong_usage_exits_with_two_and_prints_the_usage(process, words):
    done = process(*words.split())

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("usage: manage.py")
    assert "Traceback" not in done.err


def test_a_reader_who_has_seen_enough_is_no_error(child_environment):
    # More than a pipe holds, so that the writer meets the closed end.
    lines = enumerate(catalog.want(URL, name=f"m{number}") for number in range(150))
    catalog.add_all(lines, now=NOW, wake=nobody)
    # Where Python does not buffer its output, it does not notice either.
    environment = {name: value for name, value in child_environment().items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "manage.py", "mirror", "list", "--json"]

    writer = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    with writer:
        assert writer.stdout
        assert writer.stderr
        assert writer.stdout.read(1) == b"["
        writer.stdout.close()
        assert writer.stderr.read() == b""

    assert writer.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device of a full disk")
def test_an_output_that_takes_nothing_more_says_so(child_environment):
    made()
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "manage.py", "mirror", "list"],
            cwd=ROOT,
            env=child_environment(),
            stdout=full,
            stderr=subprocess.PIPE,
        )

    assert one_line(Done(done.returncode, "", os.fsdecode(done.stderr))).startswith("No space is left")


def test_a_terminal_without_our_characters_is_no_error(process):
    made()

    done = process("mirror", "list", PYTHONIOENCODING="ascii")

    assert (done.code, done.err) == (0, "")
    assert "default/project" in done.out
