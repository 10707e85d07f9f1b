import json
import os
import stat
import subprocess
import sys

import psutil
import pytest

from mirroring.stack import state_folder
from mirroring.stack.errors import StackError

pytestmark = pytest.mark.one_database

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def sleeper():
    processes = []

    def start(**environment):
        processes.append(subprocess.Popen(SLEEPER, env={**os.environ, **environment}))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def leave_behind(path, **pids):
    """Write what a killed stack leaves."""
    path.mkdir(exist_ok=True)
    (path / "stack.lock").write_text(json.dumps({"pid": 1, "children": pids}))
    (path / "stack.json").write_text("{}")


def test_two_stacks_on_one_folder_are_refused_in_one_line(tmp_path):
    with (
        state_folder.claim(tmp_path),
        pytest.raises(
            StackError, match=rf"already runs on .*process {os.getpid()}.*MIRRORING_STATE"
        ) as caught,
        state_folder.claim(tmp_path),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_the_folder_is_free_again_afterwards(tmp_path):
    with state_folder.claim(tmp_path) as folder:
        folder.write_card({"redis_url": "x"})
        assert json.loads((tmp_path / "stack.json").read_text()) == {"redis_url": "x"}

    assert not (tmp_path / "stack.json").exists()
    with state_folder.claim(tmp_path):
        pass


def test_what_a_killed_stack_left_running_is_ended(tmp_path, sleeper):
    left = sleeper(MIRRORING_STATE=str(tmp_path))
    leave_behind(tmp_path, imports=left.pid)

    with state_folder.claim(tmp_path):
        assert left.wait(5) != 0
        assert not (tmp_path / "stack.json").exists()


def test_a_process_number_that_now_belongs_to_somebody_else_is_left_alone(tmp_path, sleeper):
    stranger = sleeper(MIRRORING_STATE="/elsewhere")
    leave_behind(tmp_path, imports=stranger.pid)

    with state_folder.claim(tmp_path):
        pass

    assert psutil.Process(stranger.pid).is_running()
    assert stranger.poll() is None


@pytest.mark.parametrize("text", ["", "half a {", "[]", '{"children": 3}'])
def test_a_damaged_note_does_not_stop_a_start(tmp_path, text):
    (tmp_path / "stack.lock").write_text(text)

    with state_folder.claim(tmp_path):
        pass


def test_passwords_and_the_card_are_for_our_eyes_only_and_stay(tmp_path):
    with state_folder.claim(tmp_path) as folder:
        password = folder.secret("admin_password")
        folder.write_card({})
        for name in ("admin_password", "stack.json", "stack.lock"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        assert len(password) >= 16

    with state_folder.claim(tmp_path) as folder:
        assert folder.secret("admin_password") == password
