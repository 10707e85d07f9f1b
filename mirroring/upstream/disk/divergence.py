"""Whether an upstream rewrote branches, for a mirror that does not follow that by itself."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.disk import ancestry
from mirroring.upstream.errors import GitError
from mirroring.upstream.git.process import StopHandle, sanitize

NAMED = 3
"""Branches that a refusal names; the search ends with the last of them."""

BRANCHES = "refs/heads/"


def refuse(
    staging: Path,
    *,
    before: Mapping[str, str],
    after: Mapping[str, str],
    left: Callable[[], timedelta],
    stop: StopHandle,
) -> None:
    """Raise GitError if a branch no longer contains what it held before.

    A branch that was deleted is none that diverged, and tags are not looked at: what they point at does not grow.
    `left` is what is left of the time for the import.
    """
    found: list[str] = []
    for name in sorted(before.keys() & after.keys()):
        if not name.startswith(BRANCHES) or before[name] == after[name]:
            continue
        if not _contained(staging, before[name], after[name], left=left, stop=stop):
            found.append(name)
        if len(found) == NAMED:
            break
    if found:
        # A name may hold what a terminal takes for commands.
        names = sanitize(", ".join(name.removeprefix(BRANCHES) for name in found))
        more = " and perhaps more" if len(found) == NAMED else ""
        raise GitError(
            Outcome.DIVERGED, f"the upstream rewrote its branches: {names}{more}. Nothing was changed here"
        )


def _contained(staging: Path, old: str, new: str, *, left: Callable[[], timedelta], stop: StopHandle) -> bool:
    """Say whether the history of `new` holds `old`. What a fresh clone did not bring is not part of any history."""
    if ancestry.commit(staging, old, timeout=left(), stop=stop) is None:
        return False
    return ancestry.contains(staging, revision=new, wanted=old, timeout=left(), stop=stop)
