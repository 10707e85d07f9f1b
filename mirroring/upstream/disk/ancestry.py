"""Asking a repository whether one commit contains another."""

from datetime import timedelta
from pathlib import Path

from django.conf import settings

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.errors import GitError
from mirroring.upstream.git import process
from mirroring.upstream.git.environment import environment, within

LIMIT = timedelta(seconds=20)


def commit(
    repository: Path, name: str, *, timeout: timedelta = LIMIT, stop: process.StopHandle | None = None
) -> str | None:
    """Return the full id of a commit given by its id or the beginning of it; None if it is not there."""
    try:
        words = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
        return _git(repository, *words, timeout=timeout, stop=stop)
    except GitError as error:
        if stop and error.outcome is not Outcome.TRANSIENT:
            raise  # Nobody knows: it was stopped, or had no time or memory.
        return None


def contains(
    repository: Path,
    *,
    revision: str,
    wanted: str,
    timeout: timedelta = LIMIT,
    stop: process.StopHandle | None = None,
) -> bool:
    """Say whether the history of `revision` holds the commit `wanted`; both are full ids. Raise GitError."""
    words = ["rev-list", "--max-count=1", wanted, f"^{revision}", "--"]
    return not _git(repository, *words, timeout=timeout, stop=stop)


def _git(repository: Path, *words: str, timeout: timedelta, stop: process.StopHandle | None) -> str:
    command = [settings.GIT, within(repository), *words]
    handle = stop or process.StopHandle()
    return process.run(command, environment=environment(), timeout=timeout, stop=handle).strip()
