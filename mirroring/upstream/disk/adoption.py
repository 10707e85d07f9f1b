"""Taking over a bare repository that exists: its objects, refs and HEAD are taken, and nothing else of it.

Git never runs in the original, whose configuration could make it run anything: what is taken lands in a fresh
repository of our own, is checked there, and the original stays as it was whatever happens.
"""

import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings

from mirroring.upstream.disk import folders, original, refs
from mirroring.upstream.disk.original import NotAdoptable
from mirroring.upstream.disk.repository import Repository, drafted
from mirroring.upstream.errors import GitError
from mirroring.upstream.git.environment import environment, within
from mirroring.upstream.git.process import StopHandle, run

FSCK_TIMEOUT = timedelta(hours=2)
ABANDONED_AFTER = timedelta(days=1)
"""A draft that nobody touched for so long was left behind by a killed command."""

# The faults of old and honest histories that a fetch is allowed too.
_FSCK = [
    (f"fsck.{fault}", "ignore") for fault in ("badTimezone", "missingSpaceBeforeDate", "zeroPaddedFilemode")
]
_PACK = re.compile(r"pack-[0-9a-f]{40}\.(pack|idx)\Z")
_FANOUT = re.compile(r"[0-9a-f]{2}\Z")
_LOOSE = re.compile(r"[0-9a-f]{38}\Z")


@dataclass(frozen=True)
class Taken:
    """A checked copy that waits to be renamed to its place, and how many of the original's refs it holds."""

    repository: Repository
    refs: int
    refs_left_out: int


@contextmanager
def taken(source: Path, *, refspecs: Sequence[str], stop: StopHandle) -> Iterator[Taken]:
    """Take objects and selected refs of a bare repository into a draft in our storage. Raise NotAdoptable.

    Files are hard-linked where they are ours alone to write and the file system allows it, else copied. A draft that
    is not renamed away within the block is deleted.
    """
    storage = Path(settings.REPOSITORIES_DIR)
    drafts = storage / ".adopting"
    drafts.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(drafts)
    try:
        source = source.resolve(strict=True)
        if source.is_relative_to(storage.resolve()):
            raise NotAdoptable(f"{source} is part of our own storage: add its upstream instead")
        original.look(source)
        found = original.read_refs(source)
        kept = {
            name: oid for name, oid in found.items() if any(refs.selects(spec, name) for spec in refspecs)
        }
        with drafted(drafts / f"{uuid.uuid4().hex}.git", stop=stop) as draft:
            _take_objects(source / "objects", draft.objects)
            refs.write(draft.path, kept)
            head = original.head(source)
            (draft.path / "HEAD").write_text(f"ref: {head}\n", errors="surrogateescape")
            _check(draft, source, stop=stop)
            yield Taken(repository=draft, refs=len(kept), refs_left_out=len(found) - len(kept))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise NotAdoptable(
            f"{error.filename or source} cannot be taken over ({why}): see to it, then adopt again"
        ) from None


def _sweep(drafts: Path) -> None:
    """Delete what killed commands left; hard links of theirs are names only, the originals stay."""
    before = time.time() - ABANDONED_AFTER.total_seconds()
    for draft in drafts.iterdir():
        with suppress(FileNotFoundError):
            if draft.stat().st_mtime < before:
                folders.remove(draft)


def _take_objects(source: Path, target: Path) -> None:
    """Take packs, their indexes and loose objects; whatever else lies there is not needed and not trusted."""
    for folder, below, files, at in os.fwalk(source, follow_symlinks=False):
        inside = Path(folder).relative_to(source)
        for name in [*below, *files]:
            mode = os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise NotAdoptable(
                    f"{folder}/{name} is neither file nor folder: make a copy with "
                    "`git clone --mirror` and adopt that"
                )
            if name.endswith(".promisor"):
                raise original.refusal(source.parent, "is a partial clone")
        top = inside == Path()
        below[:] = [name for name in below if top and (name == "pack" or _FANOUT.match(name))]
        pattern = _PACK if inside.name == "pack" else _LOOSE
        wanted = [] if top else [name for name in files if pattern.match(name)]
        if wanted:
            (target / inside).mkdir(exist_ok=True)
        for name in wanted:
            _take(name, at, target / inside / name)


def _take(name: str, at: int, target: Path) -> None:
    """Hard-link a file if only we can write it, else copy it: a link shares what its writers write later."""
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if status.st_uid == os.geteuid() and not status.st_mode & 0o022:
            with suppress(OSError):
                os.link(name, target, src_dir_fd=at, follow_symlinks=False)
                if os.path.samestat(target.lstat(), status):
                    return
                target.unlink()
        with target.open("xb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            os.fchmod(copy.fileno(), 0o444)
            copy.flush()
            os.fsync(copy.fileno())


def _check(draft: Repository, source: Path, *, stop: StopHandle) -> None:
    command = [
        settings.GIT,
        within(draft.path),
        "fsck",
        "--full",
        "--strict",
        "--no-dangling",
        "--no-progress",
    ]
    try:
        run(command, environment=environment(_FSCK), timeout=FSCK_TIMEOUT, stop=stop)
    except GitError as error:
        raise NotAdoptable(
            f"git fsck refuses {source} ({error.detail}): repair it, or add its upstream to fetch it anew"
        ) from None
