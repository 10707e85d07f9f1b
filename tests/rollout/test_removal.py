"""The removal of a flag as a patch, applied to a copy of the project: what is checked of the project holds there."""

import os
import shutil
import subprocess
import sys

import pytest
from django.conf import settings

from mirroring.flags import registry
from mirroring.rollout import cleanup

COPIED = ("mirroring", "config", "tests", "docs", "scripts", "bench")
FILES = ("manage.py", "pyproject.toml", "CHANGELOG.md", "README.md", "Makefile")
FLAGS = list(registry.FlagName)[:2]
"""The tracker's, in the order in which they may go."""

AFFECTED = (
    "tests/scheduler",
    "tests/flags",
    "tests/machines",
    "tests/models",
    "tests/rollout",
    "tests/commands",
    "tests/tracker",
    "tests/rules",
    "tests/web/test_admin_flags.py",
    "tests/web/test_admin_pages.py",
    "tests/web/test_metrics.py",
    "tests/api",
    "tests/chatops/test_environments.py",
)
POSITION = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from datetime import UTC, datetime
from mirroring.scheduler.dispatch import Position
print(Position.current(now=datetime.now(tz=UTC)).charges)
"""

pytestmark = pytest.mark.skipif(not FLAGS, reason="no flag is left to be removed")


@pytest.fixture
def copy(tmp_path):
    """A copy of the project, without what is built."""
    folder = tmp_path / "copy"
    built = shutil.ignore_patterns("__pycache__", ".ruff_cache", ".mypy_cache")
    for name in COPIED:
        shutil.copytree(settings.BASE_DIR / name, folder / name, ignore=built)
    for name in FILES:
        shutil.copy(settings.BASE_DIR / name, folder / name)
    return folder


def remove(flag, copy) -> None:
    """Apply the patch of a flag as a person does."""
    path = copy.parent / f"{flag}.patch"
    path.write_text(cleanup.patch(flag, copy), errors="surrogateescape")
    subprocess.run(["git", "apply", path], cwd=copy, check=True)


def run(copy, *command, limit=60):
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {**kept, "PYTHONPATH": str(copy), "MIRRORING_STATE": str(copy.parent / "state")}
    if command[0] == "-c":
        environment["DJANGO_SETTINGS_MODULE"] = "config.settings"
    return subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True, timeout=limit
    )


def checks(copy) -> None:
    """Run the quick parts of `make check`."""
    for command in (
        ("-m", "ruff", "check", "--quiet", "."),
        ("-m", "ruff", "format", "--check", "--quiet", "."),
        ("scripts/check_sizes.py",),
        ("manage.py", "check"),
        ("manage.py", "makemigrations", "--check", "--dry-run"),
    ):
        done = run(copy, *command)
        assert done.returncode == 0, (command, done.stdout[-3000:], done.stderr[-3000:])


def test_with_the_patches_applied_the_code_runs_as_with_the_flags_on_and_is_in_order(copy):
    for number, flag in enumerate(FLAGS, start=1):
        remove(flag, copy)
        assert cleanup.verify_gone(flag, copy)
        assert f"`{flag}`" in (copy / "CHANGELOG.md").read_text()
        checks(copy)
        told = run(copy, "-c", POSITION)
        assert told.stdout == f"{number == len(FLAGS)}\n", told.stderr


@pytest.mark.long
@pytest.mark.one_database
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", range(1, len(FLAGS) + 1))
def test_with_the_patches_applied_the_tests_pass(copy, number):
    for flag in FLAGS[:number]:
        remove(flag, copy)

    typed = run(copy, "-m", "mypy", limit=300)
    assert typed.returncode == 0, typed.stdout[-3000:]
    chosen = [name for name in AFFECTED if (copy / name).exists()]
    # This test in the copy would remove the next flag, and so on; the patches of faults are of the code as it is.
    spared = ["--deselect=tests/rollout/test_removal.py"]
    quickly = ["-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
    done = run(copy, "-m", "pytest", "-q", *quickly, *spared, *chosen, limit=1500)
    assert done.returncode == 0, done.stdout[-6000:]


def test_every_line_that_names_it_is_listed_with_its_kind():
    flag = FLAGS[-1]
    found = {(each.path, each.kind) for each in cleanup.references(flag)}

    assert (f"mirroring/flags/definitions/{flag}.yml", "definition") in found
    assert ("mirroring/scheduler/dispatch.py", "code") in found
    assert ("tests/scheduler/desk.py", "tests") in found


def test_the_patch_leaves_no_line_of_code_or_definition_by_hand():
    for flag in FLAGS:
        left = [each for each in cleanup.references(flag) if each.by_hand and each.kind != "tests"]
        assert left == []
