"""The builds that are deployed: a Git repository with this working tree as its commits."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.acceptance.plan import Failed
from tests.acceptance.processes import ROOT

LEFT_OUT = (
    ".git",
    ".venv",
    ".build",
    "var",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "*.pyc",
    "node_modules",
)
IDENTITY = ("-c", "user.name=Seed Walk", "-c", "user.email=seed@example.org", "-c", "commit.gpgsign=false")


class Builds:
    """One repository; each commit is a build."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "builds"
        shutil.copytree(ROOT, self.path, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        self.git("init", "-q", "-b", "main")
        changelog = self.path / "CHANGELOG.md"
        text = changelog.read_text()
        # What matters here is which commit runs where: the build before differs by its changelog only.
        changelog.write_text("# Changelog\n\n## Unreleased\n")
        self.before = self.commit("The build before the feature")
        changelog.write_text(text)
        self.feature = self.commit("Use the tracked jobs in update_all_mirrors")

    def git(self, *words: str) -> str:
        """Run git in the repository."""
        return git(self.path, *IDENTITY, *words)

    def commit(self, message: str) -> str:
        """Commit everything; return the commit."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")


def git(folder: Path, *words: str) -> str:
    """Run git in a folder; raise Failed if it does not do it."""
    done = subprocess.run(
        ["git", "-C", str(folder), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
        check=False,
    )
    if done.returncode:
        raise Failed(f"git {' '.join(words[:8])}: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()
