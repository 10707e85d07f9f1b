"""git itself: a fetch for each repository, by its defaults and with everything left out that a mirror does not need."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.harness.measure import require
from tests.lab.fast_import import ENVIRONMENT

DEFAULT = ("fetch", "--prune", "--quiet", "origin")
LEAN = (
    *("-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "fetch.writeCommitGraph=false"),
    *("fetch", "--prune", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "origin"),
)


def clone(url: str, path: Path, *, extra: Mapping[str, str] | None = None) -> None:
    """Make a mirror clone."""
    _git(["clone", "--quiet", "--mirror", url, str(path)], extra)
    _git(["-C", str(path), "pack-refs", "--all"], extra)


def copy(first: Path, path: Path, url: str) -> None:
    """Make what will be a mirror clone of another upstream once it is fetched into."""
    shutil.copytree(first, path)
    _git(["-C", str(path), "remote", "set-url", "origin", url], None)


def fetch(paths: Sequence[Path], words: Sequence[str], *, extra: Mapping[str, str] | None = None) -> None:
    """Fetch into each repository in turn."""
    for path in paths:
        _git(["-C", str(path), *words], extra)


def fetch_one(path: str) -> None:
    """Fetch into one repository by the defaults; raise if git fails."""
    subprocess.run(["git", "-C", path, *DEFAULT], env=ENVIRONMENT, check=True, capture_output=True)


def head_of(path: Path) -> str:
    """Return what the default branch points at, read as git keeps it: thousands of them are looked at after a turn."""
    loose = path / "refs" / "heads" / "main"
    if loose.exists():
        return loose.read_text().strip()
    lines = (path / "packed-refs").read_text().splitlines()
    return next(line.partition(" ")[0] for line in lines if line.endswith(" refs/heads/main"))


def _git(words: Sequence[str], extra: Mapping[str, str] | None) -> None:
    done = subprocess.run(
        ["git", *words], env={**ENVIRONMENT, **(extra or {})}, capture_output=True, check=False
    )
    require(
        done.returncode == 0,
        otherwise=f"git {words[-2:]} failed: {done.stderr.decode(errors='replace')[-300:]}",
    )
