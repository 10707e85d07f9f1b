"""The set-up script, run for real on locks that name no package, so that no network is needed."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import environment

pytestmark = pytest.mark.one_database

ROOT = Path(__file__).resolve().parents[2]
HIDES = """
import importlib.util, os
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in os.environ["HIDDEN"].split() else real(name, *rest)
"""


@pytest.fixture
def checkout(tmp_path):
    return lay_out(tmp_path / "a checkout")


def lay_out(folder):
    (folder / "scripts").mkdir(parents=True)
    for name in ("setup.py", "environment.py"):
        shutil.copy(ROOT / "scripts" / name, folder / "scripts")
    for name in ("requirements.txt", "requirements-test.txt"):
        (folder / name).write_text("# nothing\n")
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A checkout that is set up, in a shell where another environment is active."""
    place = tmp_path_factory.mktemp("setup")
    folder, other = lay_out(place / "a checkout"), place / "other"
    other.mkdir()
    foreign = {"VIRTUAL_ENV": str(other), "PYTHONPATH": str(other), "PIP_TARGET": str(other), "PIP_USER": "1"}
    done = set_up(folder, "--tests", cwd=place, **foreign)
    assert (done.returncode, done.stderr) == (0, "")
    assert "requirements-test.txt" in done.stdout
    return folder


def set_up(checkout, *words, python=sys.executable, cwd=None, **variables):
    return subprocess.run(
        [python, checkout / "scripts" / "setup.py", *words],
        env={**outside(), **variables},
        cwd=cwd,
        capture_output=True,
        text=True,
    )


def outside():
    """The environment without the measuring of coverage, which would write from there into this checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


def assert_one_line(done, text):
    assert done.returncode == 1
    assert text in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def prefix(checkout):
    done = subprocess.run(
        [checkout / ".venv" / "bin" / "python", "-c", "import sys; print(sys.prefix)"],
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_the_environment_is_in_the_checkout_and_no_other_is_touched(installed):
    assert prefix(installed) == str(installed / ".venv")
    assert list((installed.parent / "other").iterdir()) == []


def test_a_second_set_up_has_nothing_to_do_until_a_lock_changes(installed, tmp_path):
    second = set_up(installed, "--tests", cwd=tmp_path)
    (installed / "requirements-test.txt").write_text("# nothing, in other words\n")
    third = set_up(installed, "--tests", cwd=tmp_path)

    assert "nothing to do" in second.stdout
    assert "is ready" in third.stdout


def test_what_tests_need_includes_what_the_product_needs(installed):
    assert "nothing to do" in set_up(installed).stdout


@pytest.mark.long
def test_an_environment_whose_python_is_gone_is_made_anew(checkout):
    set_up(checkout)
    (checkout / ".venv" / "bin" / "python").unlink()
    (checkout / "requirements.txt").write_text("# changed\n")

    done = set_up(checkout)

    assert done.returncode == 0, done.stderr
    assert prefix(checkout) == str(checkout / ".venv")


def test_without_git_one_line_says_what_to_type(checkout):
    assert_one_line(set_up(checkout, PATH="/nonexistent"), "git is missing; type: ")


def test_without_venv_and_pip_one_line_says_what_to_type(checkout, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDES)

    done = set_up(checkout, PYTHONPATH=str(tmp_path), HIDDEN="ensurepip pip", PATH=path_without_uv(tmp_path))

    assert_one_line(done, "apt-get install python3-venv")


def path_without_uv(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(shutil.which("git"))
    return str(tmp_path / "bin")


def test_a_folder_that_cannot_be_written_gives_one_line(checkout):
    checkout.chmod(0o555)
    command = [sys.executable, checkout / "scripts" / "setup.py"]
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
        for above in checkout.parents:
            if above.is_relative_to("/tmp") and above != Path("/tmp"):
                above.chmod(0o755)

    done = subprocess.run(command, env=outside(), capture_output=True, text=True)

    checkout.chmod(0o755)
    assert_one_line(done, "cannot be written (Permission denied): clone to a folder of your own.")


def test_a_package_that_cannot_be_had_gives_one_line_and_names_the_log(installed):
    lock = installed / "requirements-test.txt"
    before = lock.read_text()
    lock.write_text("no-such-package==1.0 --hash=sha256:" + "0" * 64 + "\n")

    done = set_up(installed, "--tests", PIP_NO_INDEX="1", PIP_FIND_LINKS="")

    lock.write_text(before)
    assert_one_line(done, "Set-up failed. ERROR: No matching distribution found for no-such-package==1.0")
    assert f"(all of it: {installed / '.build' / 'setup.log'})" in done.stderr


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "The disk is full"),
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError'\nERROR: No match",
            "cannot be reached",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "wrong hash"),
        ("first\nlast word\n", "last word"),
        ("", "It said nothing."),
    ],
)
def test_the_cause_is_told_in_one_sentence(said, told):
    cause = environment.cause(said)

    assert told in cause
    assert "\n" not in cause


def test_an_old_python_gets_a_sentence(checkout):
    pretend = "import runpy, sys; sys.version_info = (3, 9, 2); sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"

    done = subprocess.run(
        [sys.executable, "-c", pretend, checkout / "scripts" / "setup.py"], capture_output=True, text=True
    )

    assert_one_line(
        done,
        "This is Python 3.9; 3.11 or newer is needed. Install one, then type the same with it: make ... PYTHON=",
    )


def test_an_old_python_can_read_the_file_that_tells_it():
    text = (ROOT / "scripts" / "setup.py").read_text()

    assert ast.parse(text, feature_version=(3, 4))
    assert 'f"' not in text  # newer than the oldest Python that somebody may still have as python3
