"""Reading somebody else's bare repository without running git in it: its configuration may be anything."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from mirroring.upstream.disk import refs
from mirroring.upstream.policy.names import is_name

MAX_LOOSE_REF = 4096

_NOT_OURS = (
    (re.compile(r"^\s*bare\s*=\s*(false|no|off|0)\b", re.IGNORECASE | re.MULTILINE), "has a work tree"),
    (
        re.compile(r"^\s*objectformat\s*=\s*(?!\"?sha1\b)", re.IGNORECASE | re.MULTILINE),
        "names its objects by another hash than SHA-1",
    ),
    (
        re.compile(r"^\s*refstorage\s*=\s*(?!\"?files\b)", re.IGNORECASE | re.MULTILINE),
        "keeps its refs in another format than files",
    ),
    (re.compile(r"^\s*(partialclone|promisor)\s*=", re.IGNORECASE | re.MULTILINE), "is a partial clone"),
)


class NotAdoptable(ValueError):
    """The repository cannot be taken over; the text says why and what to do. The original is as it was."""


def look(source: Path) -> None:
    """Refuse what is no complete, bare repository that stands on its own."""
    if (source / ".git").exists() or (source / "index").exists():
        raise refusal(source, "has a work tree")
    kinds = {"HEAD": stat.S_ISREG, "objects": stat.S_ISDIR, "refs": stat.S_ISDIR}
    for name, is_right in kinds.items():
        if not os.path.lexists(source / name):
            raise NotAdoptable(f"{source} is no bare repository, it has no {name}: give the folder of one")
        if not is_right((source / name).lstat().st_mode):
            raise NotAdoptable(
                f"{source / name} is not of the kind that a repository has: make a copy of the "
                "repository with `git clone --mirror` and adopt that"
            )
    _stands_alone(source)
    config = _small_file(source / "config", limit=1 << 20) if (source / "config").exists() else ""
    for pattern, what in _NOT_OURS:
        if pattern.search(config):
            raise refusal(source, what)


def _stands_alone(source: Path) -> None:
    for name in ("objects/info/alternates", "objects/info/http-alternates"):
        if os.path.lexists(source / name):
            raise NotAdoptable(
                f"{source} borrows objects from another repository: run `git -C {source} repack -a -d`, delete "
                f"{name}, then adopt again"
            )
    if os.path.lexists(source / "shallow"):
        raise NotAdoptable(f"{source} is shallow: run `git -C {source} fetch --unshallow`, then adopt again")


def refusal(source: Path, what: str) -> NotAdoptable:
    """Return the refusal of what a bare copy would mend."""
    return NotAdoptable(f"{source} {what}: make a bare copy with `git clone --mirror` and adopt that")


def _small_file(path: Path, *, limit: int) -> str:
    """Read a regular file of a bounded size; a pipe in its place would hold us up for ever."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            raise NotAdoptable(f"{path} is not of the kind or size that a repository has: see what it is")
        return file.read(limit).decode(errors="surrogateescape")


def read_refs(source: Path) -> dict[str, str]:
    """Return name -> object id of all refs, loose ones before packed; refs that only name others are left out."""
    if os.path.lexists(source / "packed-refs") and not stat.S_ISREG((source / "packed-refs").lstat().st_mode):
        raise NotAdoptable(f"{source / 'packed-refs'} is no regular file: see what it is")
    try:
        packed = refs.read(source)
    except ValueError:
        raise NotAdoptable(f"{source / 'packed-refs'} is damaged: run `git -C {source} fsck`") from None
    found = packed | dict(_loose_refs(source))
    unfit = (name for name, oid in found.items() if not is_name(name) or not refs.is_id(oid))
    if name := next(unfit, refs.below_another(found)):
        raise NotAdoptable(f"{source} has the ref {name[:200]!r}, which git does not allow: delete it there")
    return found


def _loose_refs(source: Path) -> Iterator[tuple[str, str]]:
    for folder, folders, files in os.walk(source / "refs"):
        for name in [*folders, *files]:
            path = Path(folder) / name
            if path.is_symlink():
                raise NotAdoptable(
                    f"{path} is a symbolic link: make a copy with `git clone --mirror`, adopt that"
                )
        for name in files:
            path = Path(folder) / name
            value = "" if name.endswith(".lock") else _small_file(path, limit=MAX_LOOSE_REF).strip()
            if value and not value.startswith("ref:"):
                yield path.relative_to(source).as_posix(), value


def head(source: Path) -> str:
    """Return the branch that HEAD names; one that names none is followed at the first import."""
    target = _small_file(source / "HEAD", limit=MAX_LOOSE_REF).strip().removeprefix("ref:").strip()
    return target if target.startswith("refs/heads/") and is_name(target) else "refs/heads/main"
