"""The demo itself, small: the whole stack, judged, and nothing left when it is over."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.processes import clean_environment

pytestmark = pytest.mark.long


def start(tmp_path: Path, **variables: str) -> subprocess.Popen[str]:
    environment = clean_environment() | {"TMPDIR": str(tmp_path)} | variables
    command = [sys.executable, "-m", "tests.acceptance.demo"]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of the processes that know of a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if os.fsencode(str(folder)) in text and state != "Z" and int(process.name) != os.getpid():
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.mark.timeout(400)
def test_a_small_demo_ends_well_and_leaves_map_and_repositories(tmp_path: Path) -> None:
    with start(tmp_path, DEMO_MIRRORS="14", DEMO_CAP="3", SEED="5", KEEP="1") as demo:
        lines = demo.communicate()[0].splitlines()

    assert demo.returncode == 0, "\n".join(lines[-20:])
    assert lines[-1].startswith(
        "demo ok: mirrors=14 fresh=11 failed_as_expected=3 updates_seen=10 clones=3 flag_positions=4"
        " peak=3 cap=3 over_cap=0 seconds="
    )
    kept = Path(lines[-2].removeprefix("kept: map="))
    entries = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [sorted(entry) for entry in entries] == [["expected", "mirror", "name", "upstream"]] * 14
    assert all((Path(entry["upstream"]) / "HEAD").exists() for entry in entries)
    assert processes_of(tmp_path) == []


@pytest.mark.timeout(400)
def test_repositories_of_a_list_are_mirrored_and_never_written_to(tmp_path: Path) -> None:
    own = tmp_path / "own.git"
    subprocess.run(["git", "init", "--quiet", "--bare", own], check=True)
    tree = subprocess.run(
        ["git", f"--git-dir={own}", "mktree"], input="", capture_output=True, text=True, check=True
    ).stdout.strip()
    author = ["-c", "user.name=A", "-c", "user.email=a@lab.example"]
    commit = subprocess.run(
        ["git", f"--git-dir={own}", *author, "commit-tree", "-m", "first", tree],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    subprocess.run(["git", f"--git-dir={own}", "update-ref", "HEAD", commit], check=True)
    before = sorted((file, file.stat().st_mtime_ns) for file in own.rglob("*"))
    (tmp_path / "list").write_text("own.git\nhttp://127.0.0.1:1025/gone.git\n")

    with start(tmp_path, MIRRORS=str(tmp_path / "list")) as demo:
        lines = demo.communicate()[0].splitlines()

    assert demo.returncode == 0, "\n".join(lines[-20:])
    assert "mirrors=2 fresh=1 failed_as_expected=1 updates_seen=0 clones=1 flag_positions=4" in lines[-1]
    assert sorted((file, file.stat().st_mtime_ns) for file in own.rglob("*")) == before


@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_demo_nothing_of_it_runs_on(number: signal.Signals, tmp_path: Path) -> None:
    with start(tmp_path, DEMO_MIRRORS="6", DEMO_CAP="2") as demo:
        deadline = time.monotonic() + 90
        while not any(tmp_path.glob("mirroring-demo-*/state/stack.json")):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        demo.send_signal(number)
        last = demo.communicate()[0].splitlines()[-1:]

    if number != signal.SIGKILL:
        assert (demo.returncode, last) == (1, ["demo FAILED: interrupted"])
    deadline = time.monotonic() + 60
    while left := processes_of(tmp_path):
        assert time.monotonic() < deadline, left
        time.sleep(0.5)
