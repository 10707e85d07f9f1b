import os
import signal
import stat
import subprocess
import sys
import time

import psutil
import pytest

from mirroring.stack import supervisor as module
from mirroring.stack.supervisor import Supervisor

pytestmark = pytest.mark.one_database

SLEEP = "import time; time.sleep(20)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEP}"


@pytest.fixture
def said():
    return []


@pytest.fixture
def supervisor(tmp_path, said):
    made = Supervisor(tmp_path / "logs", say=said.append, verbose=False, adopt=False)
    yield made
    made.stop(grace=0, urgent=lambda: True)


def start(supervisor, name, code):
    return supervisor.start(name, [sys.executable, "-c", code], environment=os.environ)


def until(condition, *, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def stop(supervisor, *, grace=5.0, urgent=False):
    began = time.monotonic()
    supervisor.stop(grace=grace, urgent=lambda: urgent)
    return time.monotonic() - began


def test_a_process_that_died_is_started_again_and_one_line_says_so(supervisor, said):
    start(supervisor, "web", SLEEP)
    first = supervisor.pids()["web"]

    os.kill(first, signal.SIGKILL)

    until(supervisor.tend)
    assert supervisor.pids()["web"] != first
    assert len(said) == 1
    assert said[0].startswith("web ended (killed by SIGKILL); it starts again in 0.5 s. Its log: ")


def test_each_failure_in_a_row_doubles_the_pause(supervisor, said, monkeypatch):
    monkeypatch.setattr(module, "FIRST_DELAY_SECONDS", 0.1)
    start(supervisor, "web", "raise SystemExit(3)")

    def four_were_said():
        supervisor.tend()
        return len(said) >= 4

    until(four_were_said)
    pauses = [line.partition("again in ")[2].partition(" s")[0] for line in said[:4]]
    assert pauses == ["0.1", "0.2", "0.4", "0.8"]
    assert "exit code 3" in said[0]


def test_a_failure_after_a_steady_time_is_a_first_one_again(supervisor, said, monkeypatch):
    monkeypatch.setattr(module, "STEADY_SECONDS", 0.0)
    child = start(supervisor, "web", SLEEP)
    child.failures = 5

    os.kill(supervisor.pids()["web"], signal.SIGKILL)
    until(lambda: supervisor.tend() or said)

    assert "in 0.5 s" in said[0]


def test_everything_stops_when_asked(supervisor):
    for name in ("valkey", "web", "beat"):
        start(supervisor, name, SLEEP)
    pids = supervisor.pids().values()

    assert stop(supervisor) < 3
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert supervisor.pids() == {}


def test_the_first_process_ends_after_all_others(supervisor, tmp_path):
    ends = tmp_path / "ends"
    note = (
        "import signal, sys, time\n"
        f"def end(*_): time.sleep({{wait}}); open({str(ends)!r}, 'a').write('{{name}} '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(20)"
    )
    for name, wait in (("valkey", 0), ("imports", 0.3)):
        child = start(supervisor, name, note.format(name=name, wait=wait))
        until(lambda child=child: "ready" in child.log.read_text())

    stop(supervisor)

    assert ends.read_text() == "imports valkey "


def test_a_process_that_ignores_the_request_is_killed_within_the_bound(supervisor):
    child = start(supervisor, "web", STUBBORN)
    until(lambda: "deaf" in child.log.read_text())
    pid = supervisor.pids()["web"]

    assert 0.4 < stop(supervisor, grace=0.5) < 3
    assert not psutil.pid_exists(pid)


def test_a_second_request_does_not_wait(supervisor):
    child = start(supervisor, "web", STUBBORN)
    until(lambda: "deaf" in child.log.read_text())

    assert stop(supervisor, grace=60, urgent=True) < 3


def test_killing_a_worker_takes_its_children_in_other_process_groups_along(supervisor):
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)\n"
        "print(child.pid, flush=True); time.sleep(20)"
    )
    child = start(supervisor, "imports", code)
    until(lambda: child.log.read_text().strip())
    below = int(child.log.read_text())

    stop(supervisor, grace=0.1)

    until(lambda: not psutil.pid_exists(below) or psutil.Process(below).status() == psutil.STATUS_ZOMBIE)


def test_ctrl_c_in_the_terminal_does_not_reach_the_children(supervisor):
    start(supervisor, "web", SLEEP)

    assert os.getpgid(supervisor.pids()["web"]) != os.getpgrp()


def test_logs_are_private_and_kept_per_process(supervisor, tmp_path):
    start(supervisor, "web", "print('hello from web')")
    log = tmp_path / "logs" / "web.log"

    until(lambda: "hello from web" in log.read_text())
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_log_that_has_grown_large_is_set_aside_at_the_start(supervisor, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOG_BYTES", 10)
    log = tmp_path / "logs" / "web.log"
    log.write_text("an old and long story")

    start(supervisor, "web", SLEEP)

    assert (tmp_path / "logs" / "web.log.1").read_text() == "an old and long story"


def test_verbose_repeats_new_lines_of_the_logs(tmp_path, said):
    loud = Supervisor(tmp_path, say=said.append, verbose=True, adopt=False)
    (tmp_path / "web.log").write_text("from last time\n")
    start(loud, "web", f"print('first', flush=True); print('second', flush=True); {SLEEP}")

    until(lambda: loud.tend() or len(said) == 2)
    loud.stop(grace=5, urgent=lambda: False)

    assert said == ["web        | first", "web        | second"]


ADOPTER = """
import os, subprocess, sys, time
from pathlib import Path
from mirroring.stack.supervisor import Supervisor
one = Supervisor(Path(sys.argv[1]), say=lambda line: None, verbose=False, adopt=True)
code = ("import subprocess, sys, time;"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'], start_new_session=True);"
        "print(p.pid, flush=True); time.sleep(20)")
child = one.start("imports", [sys.executable, "-c", code], environment=os.environ)
while not child.log.read_text().strip():
    time.sleep(0.02)
print(child.log.read_text().strip(), child.process.pid, flush=True)
if sys.argv[2] == "adopt":
    child.process.kill()
    child.process.wait()
    while child.process:
        one.tend()
    print("tended", flush=True)
time.sleep(20)
"""


def run_adopter(tmp_path, mode):
    process = subprocess.Popen(
        [sys.executable, "-c", ADOPTER, str(tmp_path / "logs"), mode], stdout=subprocess.PIPE, text=True
    )
    return process, [int(word) for word in process.stdout.readline().split()]


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_what_a_killed_worker_left_running_is_killed(tmp_path):
    process, (grandchild, _) = run_adopter(tmp_path, "adopt")
    with process:
        assert process.stdout.readline() == "tended\n"

        assert gone(grandchild)
        process.kill()


def test_children_end_when_the_supervisor_itself_is_killed(tmp_path):
    process, (_, child) = run_adopter(tmp_path, "stay")
    with process:
        process.kill()

    until(lambda: gone(child))
