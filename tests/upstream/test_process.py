"""Every git command: bounded in time and output, and nothing of it is left behind."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.git import confinement
from mirroring.upstream.git.environment import environment
from mirroring.upstream.git.process import KEPT_OUTPUT, GitError, StopHandle, Stopped, run, sanitize
from tests.making import wait_until

PAUSED = Stopped(Outcome.CANCELED, "paused")
_numbers = itertools.count(int(time.time() * 1000) % 1_000_000)


def sh(script, *, seconds=20.0, stop=None, **options):
    return run(
        ["sh", "-c", script],
        environment=environment(),
        timeout=timedelta(seconds=seconds),
        stop=stop or StopHandle(),
        **options,
    )


@pytest.fixture
def marker():
    """A number of seconds that no other process sleeps: by it the processes of a test are found."""
    mark = f"86400.{next(_numbers)}{os.getpid()}"
    yield mark
    for pid in processes_with(mark):
        os.kill(pid, signal.SIGKILL)


def processes_with(mark):
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[:1] == [b"sleep"] and mark.encode() in words:
                found.append(int(folder.name))
    return found


def failing(script, **options):
    with pytest.raises(GitError) as caught:
        sh(script, **options)
    return caught.value


def test_the_output_of_a_command_is_returned():
    assert sh("echo good; echo noise >&2") == "good\n"


def test_output_that_is_not_utf8_survives():
    assert sh(r"printf '\344'").encode(errors="surrogateescape") == b"\xe4"


def test_a_command_that_fails_says_why_and_has_a_class():
    error = failing("echo 'fatal: repository x not found: https://me:word@h/x' >&2; exit 128")

    assert error.detail == "fatal: repository x not found: https://h/x"
    assert error.outcome is Outcome.TRANSIENT
    assert failing("echo \"fatal: repository 'x' not found\" >&2; exit 1").outcome is Outcome.GONE
    assert failing("exit 3").detail == "git ended with status 3"


def test_a_command_has_no_input_and_inherits_nothing(monkeypatch):
    monkeypatch.setenv("MIRRORING_SECRET", "word")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")

    assert "word" not in sh("env")
    assert "/elsewhere" not in sh("env")
    assert sh("cat") == ""


# -- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tie")
def test_past_its_deadline_the_whole_group_is_killed_also_who_will_not_listen(marker):
    script = f"trap '' TERM; (trap '' TERM; sleep {marker}) & sleep {marker}; sleep {marker}"
    began = time.monotonic()

    error = failing(script, seconds=0.4)

    assert error.outcome is Outcome.HUNG
    assert time.monotonic() - began < 15
    wait_until(lambda: not processes_with(marker), seconds=5, what="nothing of the group is left")


@pytest.mark.usefixtures("tie")
def test_who_listens_is_given_the_time_to_end(marker, tmp_path):
    began = time.monotonic()

    failing(f"trap 'echo ended > {tmp_path}/note; exit' TERM; sleep {marker} & wait", seconds=0.4)

    assert (tmp_path / "note").read_text() == "ended\n"
    assert time.monotonic() - began < 15
    wait_until(lambda: not processes_with(marker), seconds=5)


@pytest.mark.usefixtures("tie")
@pytest.mark.parametrize("ending", ["exit 0", "exit 1"])
def test_what_a_command_left_running_in_its_group_is_killed(marker, ending):
    began = time.monotonic()

    with contextlib.suppress(GitError):
        sh(f"sleep {marker} >&- 2>&- & {ending}", seconds=10)

    assert time.monotonic() - began < 15
    wait_until(lambda: not processes_with(marker), seconds=5)


@pytest.mark.usefixtures("tie")
def test_a_leftover_that_keeps_the_output_open_cannot_hold_us_up(marker):
    began = time.monotonic()

    with contextlib.suppress(GitError):  # In a name space of its own it is gone before it can.
        sh(f"sleep {marker} & exit 0", seconds=0.5)

    assert time.monotonic() - began < 15
    wait_until(lambda: not processes_with(marker), seconds=5)


# -- output ---------------------------------------------------------------------------------------------------------


def test_a_command_that_prints_without_end_is_ended():
    began = time.monotonic()

    error = failing("yes", output_limit=100_000)

    assert error.outcome is Outcome.TOO_BIG
    assert time.monotonic() - began < 15


def test_as_much_output_as_is_allowed_is_returned_whole():
    script = "i=0; while [ $i -lt 1000 ]; do echo 123456789; i=$((i+1)); done"

    assert len(sh(script, output_limit=10_000)) == 10_000
    assert failing(script, output_limit=9_999).outcome is Outcome.TOO_BIG


def test_of_endless_complaints_the_last_are_kept():
    script = "i=0; while [ $i -lt 9000 ]; do echo 'remote: nonsense and more of it' >&2; i=$((i+1)); done"

    error = failing(f"{script}; echo 'fatal: Authentication failed' >&2; exit 128")

    assert KEPT_OUTPUT < 9000 * 31
    assert error.outcome is Outcome.AUTH
    assert len(error.detail) <= 1000


# -- the stop handle ------------------------------------------------------------------------------------------------


def test_a_job_that_was_stopped_before_it_began_starts_nothing(tmp_path):
    stop = StopHandle()
    stop.stop(PAUSED)

    error = failing(f"echo > {tmp_path}/began", stop=stop)

    assert (error.outcome, error.detail) == (Outcome.CANCELED, "paused")
    assert not (tmp_path / "began").exists()


@pytest.mark.usefixtures("tie")
def test_a_running_job_is_stopped_at_once_with_everything_it_started(marker):
    stop = StopHandle()
    threading.Timer(0.3, stop.stop, [PAUSED]).start()
    began = time.monotonic()

    error = failing(f"trap '' TERM; sleep {marker} & sleep {marker}", stop=stop)

    assert (error.outcome, error.detail) == (Outcome.CANCELED, "paused")
    assert 0.2 < time.monotonic() - began < 15
    wait_until(lambda: not processes_with(marker), seconds=5)


def test_the_first_reason_for_a_stop_is_kept():
    stop = StopHandle()
    stop.stop(PAUSED)
    stop.stop(Stopped(Outcome.LOST, "lost"))

    assert stop.stopped == PAUSED


@pytest.mark.usefixtures("tie")
def test_a_stop_at_any_instant_stops_the_job(marker):
    for number in range(12):
        stop = StopHandle()
        threading.Timer(number * 0.002, stop.stop, [PAUSED]).start()
        began = time.monotonic()

        assert failing(f"sleep {marker}", stop=stop).outcome is Outcome.CANCELED
        assert time.monotonic() - began < 15
    wait_until(lambda: not processes_with(marker), seconds=5)


def test_a_stopped_job_starts_no_further_command():
    stop = StopHandle()
    sh("true", stop=stop)
    stop.stop(PAUSED)

    assert failing("true", stop=stop).outcome is Outcome.CANCELED


# -- what is shown of an error --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("fatal: https://ada:secret@host/x.git", "fatal: https://host/x.git"),
        ("https://token@host/", "https://host/"),
        ("a@b.example is no user info", "a@b.example is no user info"),
        ("one\ntwo\r\n\x1b[31mred\x1b[0m\x00", "one two [31mred [0m"),
        ("größe 日本", "größe 日本"),
    ],
)
def test_an_error_is_fit_to_be_shown(said, shown):
    assert sanitize(said) == shown


def test_a_long_error_is_cut():
    assert len(sanitize("many words " * 500)) <= 1000
    assert sanitize("many words " * 500).startswith("…")


def test_a_command_whose_parent_died_before_it_was_tied_to_it_does_nothing(tmp_path):
    """The worker is killed between the fork and the word to the kernel: whoever adopts the child is not its parent."""
    if confinement.spaces() is None:
        pytest.skip("this machine has no way to tie a process to its parent")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    other = "import subprocess, sys; subprocess.run(sys.argv[1:])"

    subprocess.run([*confinement.prefix(), "touch", ours])
    subprocess.run([sys.executable, "-c", other, *confinement.prefix(), "touch", theirs])

    assert ours.exists()
    assert not theirs.exists()


def test_what_the_words_of_a_script_start_dies_with_them(marker):
    """Their shell alone is tied to the worker, and each program to the shell: no name space holds them."""
    if confinement.spaces() is None:
        pytest.skip("this machine has no way to tie a process to its parent")
    shell = subprocess.Popen([*confinement.script("tied sleep $1 && exec true"), marker])
    wait_until(lambda: processes_with(marker), seconds=5)

    shell.kill()
    shell.wait()

    wait_until(lambda: not processes_with(marker), seconds=5)


@pytest.mark.usefixtures("tie")
def test_the_words_of_a_script_have_the_arguments_and_what_is_given(tmp_path):
    words = """tied cat && exec sh -c 'printf "%s." "$@"' sh "$@" """
    said = run(
        ["a", "b c"],
        script=words,
        given=b"x\0y\n",
        environment=environment(),
        timeout=timedelta(seconds=20),
        stop=StopHandle(),
    )
    assert said == "x\0y\na.b c."
