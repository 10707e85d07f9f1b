"""A mirror's repository on disk: bare, its refs in `packed-refs` alone, each update staged in a folder of its epoch.

    <id>.git/             what readers see
        packed-refs       all refs; replaced by one rename
        HEAD
        update.lock       held while a staged update becomes visible
        incoming/<epoch>/ the staging repository of one import; its objects borrow from those above

Fencing is by rename: a staged file can be moved in only while the folder of its epoch stands. Whoever revokes an
epoch renames that folder away first, so that a writer which wakes up late finds nothing to move.
"""

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO

from django.conf import settings

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.disk import folders, quarantine
from mirroring.upstream.errors import GitError
from mirroring.upstream.git import process
from mirroring.upstream.git.environment import environment, within

INIT_TIMEOUT = timedelta(seconds=60)
LOCK_TIMEOUT = timedelta(seconds=10)
"""The lock is held for milliseconds; a holder that was stopped meanwhile must not hold up the next for long."""

_SERVING_CONFIG = """\
[uploadpack]
	allowFilter = true
	allowAnySHA1InWant = false
[gc]
	auto = 0
"""


@dataclass(frozen=True)
class Repository:
    """One bare repository under the storage root."""

    path: Path

    @property
    def packed_refs(self) -> Path:
        """Return the file that holds all refs."""
        return self.path / "packed-refs"

    @property
    def objects(self) -> Path:
        """Return the object store."""
        return self.path / "objects"

    def staging(self, epoch: int) -> Path:
        """Return the staging repository of one epoch."""
        return self.path / "incoming" / str(epoch)

    def exists(self) -> bool:
        """Say whether the repository has been made."""
        return (self.path / "HEAD").exists()

    def make(self, *, stop: process.StopHandle, object_format: str = "sha1") -> None:
        """Make the repository beside its place and rename it in: it is whole, or not there."""
        if self.exists():
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self.path.parent.glob(f".{self.path.name}.*"):
            folders.remove(leftover)
        beside = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}")
        with drafted(beside, stop=stop, object_format=object_format) as draft:
            try:
                draft.path.rename(self.path)
            except OSError:
                if not self.exists():
                    raise

    def revoke(self, *, before: int) -> None:
        """Take the staging folders of earlier epochs away, first by rename: none of them can become visible."""
        incoming = self.path / "incoming"
        for folder in incoming.iterdir() if incoming.exists() else ():
            gone = folder
            if folder.name.isdigit():
                if int(folder.name) >= before:
                    continue
                gone = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
                try:
                    folder.rename(gone)
                except FileNotFoundError:
                    continue
            folders.remove(gone)

    def stage(self, epoch: int, *, afresh: bool = False) -> Path:
        """Make a staging repository that starts from the objects that readers see, or from none of them.

        It has no refs, and shares files that nobody writes to.
        """
        staging = self.staging(epoch)
        (staging / "objects" / "info").mkdir(parents=True)
        (staging / "objects" / "pack").mkdir()
        (staging / "refs").mkdir()
        if not afresh:
            (staging / "objects" / "info" / "alternates").write_text("../../../objects\n")
        for name in ("HEAD", "config"):
            _share(self.path / name, staging / name)
        return staging

    def restage(self, epoch: int, *, object_format: str, stop: process.StopHandle) -> None:
        """Let what is staged be in another object format than what readers see, which may have no refs."""
        staging = self.staging(epoch)
        with drafted(staging / "draft", stop=stop, object_format=object_format) as draft:
            (draft.path / "config").rename(staging / "config")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # The kernel drops the lock with its holder, so a kill leaves none behind.
        with (self.path / "update.lock").open("a") as lock:
            until = time.monotonic() + LOCK_TIMEOUT.total_seconds()
            while not _try_lock(lock):
                if time.monotonic() > until:
                    raise GitError(Outcome.TRANSIENT, "another process holds the lock of this repository")
                time.sleep(0.05)
            yield

    def publish(self, epoch: int, *, still_ours: Callable[[], bool], afresh: bool = False) -> int:
        """Let readers see what was staged, all refs at one instant. Raise GitError if the epoch is no longer ours.

        Without staged refs they stay as they are. `afresh`: what was staged is whole by itself, and the objects that
        were here before are set aside. Return how many packs were staged.
        """
        staging = self.staging(epoch)
        try:
            staged = quarantine.object_files(staging / "objects")
            _move_objects(staging / "objects", self.objects)
            with self._locked():
                if not still_ours():
                    raise fenced()
                # The object format first: no reader understands refs of another.
                self._replace(staging / "config")
                refs = staging / "packed-refs"
                if refs.exists() or not self.packed_refs.exists():
                    refs.touch()
                    refs.rename(self.packed_refs)
                self._replace(staging / "HEAD")
                if afresh:
                    quarantine.set_aside(self.path, epoch=epoch, keep=staged)
                _sync(self.path)
        except FileNotFoundError:
            raise fenced() from None
        return sum(file.suffix == ".pack" for file in staged)

    def exchange_packs(self, epoch: int, old: Collection[str], *, still_ours: Callable[[], bool]) -> None:
        """Put what was staged in the place of packs that hold nothing else. Raise GitError if the epoch is not ours."""
        staged = self.staging(epoch) / "objects"
        with self._locked():
            if not still_ours():
                raise fenced()
            new = {file.stem for file in (staged / "pack").iterdir()}
            _move_objects(staged, self.objects)
            _remove_packs(self.objects / "pack", set(old) - new)

    def _replace(self, staged: Path) -> None:
        """Let readers see a staged file, if it is another than theirs."""
        seen = self.path / staged.name
        if staged.read_bytes() != seen.read_bytes():
            _sync(staged)  # Or a power cut could leave the name to an empty file.
            staged.rename(seen)


def fenced() -> GitError:
    """Return the error of an import whose staging repository was taken away."""
    return GitError(Outcome.FENCED, "another import of this mirror began: this one wrote nothing")


@contextmanager
def drafted(path: Path, *, stop: process.StopHandle, object_format: str = "sha1") -> Iterator[Repository]:
    """Make an empty repository with our configuration and no hooks; what is not renamed away goes at the end."""
    command = [
        settings.GIT,
        within(path),
        "init",
        "--quiet",
        "--bare",
        "--template=",
        "--initial-branch=main",
        f"--object-format={object_format}",
    ]
    try:
        process.run(command, environment=environment(), timeout=INIT_TIMEOUT, stop=stop)
        (path / "incoming").mkdir()
        with (path / "config").open("a") as config:
            config.write(_SERVING_CONFIG)
        yield Repository(path)
    finally:
        folders.remove(path)


def _share(source: Path, target: Path) -> None:
    """Give a file a second name: a file more is dear. Where the file system has no such thing, copy it."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _move_objects(source: Path, target: Path) -> None:
    """Move packs and loose objects over; an index goes after its pack, for it is the index that makes git look."""
    packs = sorted((source / "pack").iterdir(), key=lambda file: file.suffix == ".idx")
    for file in packs:
        if not file.name.startswith("tmp_"):
            file.rename(target / "pack" / file.name)
    for folder in source.iterdir():
        if len(folder.name) == 2:
            (target / folder.name).mkdir(exist_ok=True)
            for file in folder.iterdir():
                file.rename(target / folder.name / file.name)
    _sync(target / "pack")


def _remove_packs(folder: Path, stems: Collection[str]) -> None:
    """Delete packs with all that belongs to them, the large file first: what a kill leaves is small."""
    for file in sorted(folder.iterdir(), key=lambda file: file.suffix != ".pack"):
        if file.stem in stems:
            file.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
