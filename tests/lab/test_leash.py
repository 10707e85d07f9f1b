"""What the leash holds dies with it, whatever it tried."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Starts a grandchild in a session of its own, and ends only when it is killed.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "60"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""
# Leaves an orphan behind.
CARELESS = """
import subprocess
child = subprocess.Popen(["sleep", "61"], start_new_session=True)
print(child.pid, flush=True)
"""


def leash(report: Path, program: str, *, grace: float = 0.3) -> subprocess.Popen[bytes]:
    words = ["-m", "tests.lab.leash", "--grace", str(grace), "--report", str(report), "--"]
    command = [sys.executable, *words, sys.executable, "-c", program]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("how", ["stdin", "sigterm"])
def test_everything_below_the_leash_ends_with_it(how: str, tmp_path: Path) -> None:
    with leash(tmp_path / "report", STUBBORN) as process:
        assert process.stdin and process.stdout  # noqa: PT018
        sleeper = int(process.stdout.readline())
        if how == "stdin":
            process.stdin.close()
        else:
            process.send_signal(signal.SIGTERM)
        process.wait(10)

    assert gone(sleeper)
    report = json.loads((tmp_path / "report").read_text())
    assert report == {"exit": -signal.SIGKILL, "left": ["sleep 60"]}


def test_an_orphan_is_reported_and_ended(tmp_path: Path) -> None:
    with leash(tmp_path / "report", CARELESS) as process:
        assert process.stdout
        sleeper = int(process.stdout.readline())
        process.wait(10)

    assert gone(sleeper)
    assert json.loads((tmp_path / "report").read_text()) == {"exit": 0, "left": ["sleep 61"]}


def test_a_command_that_leaves_nothing_is_reported_clean(tmp_path: Path) -> None:
    begin = time.monotonic()
    with leash(tmp_path / "report", "raise SystemExit(3)") as process:
        process.wait(10)

    assert json.loads((tmp_path / "report").read_text()) == {"exit": 3, "left": []}
    assert time.monotonic() - begin < 5
