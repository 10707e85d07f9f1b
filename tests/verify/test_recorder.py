"""The recorder's log is evidence: nothing that git does, or that is done to it, may falsify it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import pytest

from tests.verify import concurrency
from tests.verify.recorder import Recorder, write_launcher


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "git.jsonl"


@pytest.fixture
def recorder(log: Path) -> Iterator[Recorder]:
    with Recorder(log) as recorder:
        yield recorder


def events(log: Path, *, until: int) -> list[dict[str, Any]]:
    """Wait for so many lines and return them."""
    deadline = time.monotonic() + 5
    while len(lines := concurrency.read_events(log)) < until:
        assert time.monotonic() < deadline, f"only {lines} after five seconds"
        time.sleep(0.01)
    return lines


def test_a_git_process_has_a_start_and_an_end(recorder: Recorder, log: Path, tmp_path: Path) -> None:
    command = [recorder.git, "--git-dir=/mirrors/ab/X.git/incoming/7", "version", "a" * 5000]
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)

    start, end = events(log, until=2)

    assert (start["event"], end["event"], start["id"]) == ("start", "end", end["id"])
    assert start["argv"][:2] == ["--git-dir=/mirrors/ab/X.git/incoming/7", "version"]
    assert len(start["argv"][2]) == 300
    assert (start["cwd"], start["git_dir"]) == (str(tmp_path), "")
    assert start["asked"] <= start["t"] <= end["t"]


def test_git_behaves_as_without_the_wrapper(recorder: Recorder) -> None:
    content = os.urandom(300_000)

    wrapped, plain = (
        subprocess.run([git, "hash-object", "--stdin"], input=content, capture_output=True, check=True)
        for git in (recorder.git, "git")
    )
    failed = subprocess.run([recorder.git, "no-such-command"], check=False, capture_output=True)

    assert (wrapped.stdout, wrapped.stderr) == (plain.stdout, b"")
    assert failed.returncode == 1
    assert b"no-such-command" in failed.stderr


def test_sigkill_writes_the_end(recorder: Recorder, log: Path) -> None:
    # It waits for its input, which never ends.
    process = subprocess.Popen([recorder.git, "hash-object", "--stdin"], stdin=subprocess.PIPE)
    events(log, until=1)
    time.sleep(0.2)
    assert len(events(log, until=1)) == 1

    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert events(log, until=2)[1]["event"] == "end"


def test_the_end_comes_with_the_death_of_the_last_child(recorder: Recorder, log: Path) -> None:
    nap = "alias.nap=!sleep 0.6 >/dev/null 2>&1 &"
    subprocess.run([recorder.git, "-c", nap, "nap"], check=True)

    start, end = events(log, until=2)

    assert end["t"] - start["t"] > 0.5


def test_processes_one_after_the_other_never_count_as_two(recorder: Recorder, log: Path) -> None:
    for number in range(60):
        command = [recorder.git, f"--git-dir=/mirrors/{number % 2}.git", "frobnicate"]
        subprocess.run(command, check=False, stderr=subprocess.DEVNULL)

    found = concurrency.measure(events(log, until=120), cap=1, repository_of=concurrency.import_repository)

    assert (found.peak, found.over_cap) == (1, 0)


def test_a_start_is_written_after_the_ends_of_all_that_have_died(log: Path) -> None:
    command = [sys.executable, "-m", "tests.verify.recorder", "--log", str(log)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as recorder:
        ready = json.loads(cast(IO[bytes], recorder.stdout).readline())
        first, second = (socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2))
        with first, second:
            first.connect(ready["socket"])
            second.connect(ready["socket"])
            first.send(b"\0".join([b"1.0", b"1", b"/m/1.git", b"", b"fetch"]))
            events(log, until=1)
            recorder.send_signal(signal.SIGSTOP)
            second.send(b"\0".join([b"1.0", b"2", b"/m/2.git", b"", b"fetch"]))
            first.close()
            recorder.send_signal(signal.SIGCONT)
            assert second.recv(1)
        lines = events(log, until=4)

    assert [line["event"] for line in lines] == ["start", "end", "start", "end"]
    assert concurrency.measure(lines, cap=1, repository_of=concurrency.import_repository).over_cap == 0


def test_processes_at_the_same_time_are_counted(recorder: Recorder, log: Path) -> None:
    nap = "alias.nap=!sleep 0.5"
    processes = [
        subprocess.Popen([recorder.git, f"--git-dir=/mirrors/{number}.git", "-c", nap, "nap"])
        for number in range(5)
    ]
    assert [process.wait() for process in processes] == [0] * 5

    found = concurrency.measure(events(log, until=10), cap=3, repository_of=concurrency.import_repository)

    assert (found.peak, found.over_cap) == (5, 2)


def test_without_a_recorder_it_is_plain_git(tmp_path: Path) -> None:
    git = write_launcher(tmp_path / "git", socket=tmp_path / "nobody listens")

    assert subprocess.run([git, "version"], capture_output=True, check=True).stdout.startswith(b"git version")


def test_a_recorder_that_does_not_answer_holds_git_up_for_seconds_only(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.bind(str(tmp_path / "sock"))
        silent.listen()
        git = write_launcher(tmp_path / "git", socket=tmp_path / "sock")

        done = subprocess.run([git, "version"], capture_output=True, check=True, timeout=10)

    assert done.stdout.startswith(b"git version")


def test_paths_with_spaces_and_quotes_work(tmp_path: Path) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    (folder / "git").symlink_to(shutil.which("git") or "git")
    git = write_launcher(folder / "launch me", socket=folder / "sock", git=str(folder / "git"))

    assert subprocess.run([git, "version"], capture_output=True, check=True).stdout.startswith(b"git version")


def test_it_works_in_a_pid_namespace_of_its_own(recorder: Recorder, log: Path) -> None:
    command = [
        "unshare",
        "--user",
        "--map-current-user",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        str(recorder.git),
        "version",
    ]
    if subprocess.run([*command[:6], "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no user namespaces")

    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    start, end = events(log, until=2)
    assert start["id"] == end["id"]


def test_the_wrapper_adds_little(recorder: Recorder) -> None:
    def seconds(git: str | Path) -> float:
        begin = time.monotonic()
        for _ in range(10):
            subprocess.run([git, "version"], check=True, stdout=subprocess.DEVNULL)
        return (time.monotonic() - begin) / 10

    # Measured on two cores: 10 ms, most of it the start of Python.
    assert seconds(recorder.git) - seconds("git") < 0.1


@pytest.mark.parametrize(
    ("argv", "git_dir", "cwd", "mirror"),
    [
        (["--git-dir=/m/X.git", "fetch", "m"], "", "/", "/m/X.git"),
        (["--git-dir", "/m/X.git/incoming/12", "ls-remote", "--", "http://h/Y.git"], "", "/", "/m/X.git"),
        (["-c", "a=b", "fetch"], "/m/X.git", "/", "/m/X.git"),
        (["fetch"], "X.git/incoming/3", "/m", "/m/X.git"),
        (["-C", "/m/X.git", "pack-refs"], "", "/", "/m/X.git"),
        (["gc"], "", "/m/ab/X.git/incoming/4", "/m/ab/X.git"),
        (["--git-dir=/m/.X.git.0a1b2c3d", "init", "--bare"], "", "/", "/m/X.git"),
        (["init", "--bare", "/m/X.git"], "", "/", "/m/X.git"),
        (["clone", "--mirror", "http://h/Y.git", "X.git"], "", "/m", "/m/X.git"),
        (["upload-pack", "--stateless-rpc", "/m/X.git"], "", "/", ""),
        (["--git-dir=/m/X.git", "for-each-ref"], "", "/", ""),
        (["--version"], "", "/m/X.git", ""),
        (["ls-remote", "http://h/Y.git"], "", "/home", ""),
        ([], "", "/m/X.git", ""),
    ],
)
def test_an_import_is_known_by_its_command_and_repository(
    argv: list[str], git_dir: str, cwd: str, mirror: str
) -> None:
    event = {"event": "start", "argv": argv, "git_dir": git_dir, "cwd": cwd}

    assert concurrency.import_repository(event) == mirror


def test_a_line_that_a_kill_cut_off_is_left_out(log: Path) -> None:
    log.write_text('{"event": "start"}\n{"event": "e')

    assert concurrency.read_events(log) == [{"event": "start"}]
