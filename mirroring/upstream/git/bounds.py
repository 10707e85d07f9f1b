"""What one import may take: memory, disk and time, and how it is told that it took too much."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings

from mirroring.models import SchedulingSettings
from mirroring.rules.outcomes import Outcome
from mirroring.upstream.errors import GitError
from mirroring.upstream.git.confinement import Limits

MB = 1024 * 1024
LISTING_MB = 1024
"""Memory of a git that lists: room for a million refs. It would hold whatever a server answers, without an end."""

TRACE_BYTES = MB
"""Of the packets of an upstream that lists no ref, written down: it needs a few lines, and may send any amount."""

_OUT_OF_MEMORY = re.compile(r"out of memory|cannot allocate memory", re.IGNORECASE)
PAGE = 64 * 1024
FLOOR_SHARE = 20
"""The floor never exceeds one part in so many of the whole disk: a small disk could hold nothing otherwise."""


def listing_limits(*, traced: bool = False) -> Limits:
    """Return what the kernel holds a git to that moves no objects."""
    return Limits(memory=min(settings.GIT_MEMORY_MB, LISTING_MB) * MB, file_size=TRACE_BYTES if traced else 0)


@contextmanager
def listed_within_bounds(trace: Path | None = None) -> Iterator[None]:
    """Say of a listing for which memory or trace was too small that it is too big: the upstream's doing, not ours."""
    try:
        yield
    except GitError as error:
        if _OUT_OF_MEMORY.search(error.detail):
            raise GitError(Outcome.TOO_BIG, "the upstream lists more than git can hold in memory") from None
        if trace and trace.exists() and trace.stat().st_size + PAGE >= TRACE_BYTES:
            # Git does not say that the kernel ended it.
            raise GitError(Outcome.TOO_BIG, "the upstream lists no refs, but sends without end") from None
        raise


@dataclass(frozen=True)
class Bounds:
    """The bounds of one import. Zero means that there is none."""

    repository_mb: int = 0
    disk_floor_mb: int = 0
    idle: timedelta = timedelta(seconds=60)

    @classmethod
    def of(cls, configured: SchedulingSettings) -> "Bounds":
        """Return the bounds that are set."""
        return cls(
            repository_mb=configured.repository_limit_mb,
            disk_floor_mb=configured.disk_floor_mb,
            idle=timedelta(seconds=configured.idle_timeout_seconds),
        )


NO_BOUNDS = Bounds()


@dataclass(frozen=True)
class Pace:
    """What a server has to send, in bytes a second, lest it is given up after some time."""

    bytes_a_second: int
    idle: timedelta

    @property
    def config(self) -> list[tuple[str, str]]:
        """Return what has git hold a server to it over http."""
        seconds = str(round(self.idle.total_seconds()))
        return [("http.lowSpeedLimit", str(self.bytes_a_second)), ("http.lowSpeedTime", seconds)]

    @property
    def environment(self) -> dict[str, str]:
        """Return what has our wrapper hold a server to it over ssh, where git does not."""
        return {"MIRRORING_SSH_PACE": f"{self.bytes_a_second} {self.idle.total_seconds()}"}


def shortage(floor_mb: int, *, share: float = 1.0) -> str:
    """Say how little of the disk of the mirrors is free, if that is less than (a share of) the floor; else ""."""
    usage = shutil.disk_usage(_existing(Path(settings.REPOSITORIES_DIR)))
    floor = min(floor_mb * MB, usage.total // FLOOR_SHARE) * share
    if usage.free >= floor:
        return ""
    return f"{usage.free // MB} MB of the disk of the mirrors are free, less than the floor of {floor / MB:.0f} MB"


def size_of(folder: Path) -> int:
    """Return how many bytes the files below a folder hold. Files may come and go meanwhile."""
    return sum(sizes_below(folder))


def sizes_below(folder: Path) -> Iterator[int]:
    """Yield the size of each file below a folder."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                yield (Path(parent) / name).lstat().st_size


class Watch:
    """Looks each second at what a fetch has written, and raises GitError once it is too much."""

    EVERY = 1.0

    def __init__(self, objects: Path, *, bounds: Bounds, held: int) -> None:
        self._objects = objects
        self._bounds = bounds
        self._room = bounds.repository_mb * MB - held if bounds.repository_mb else 0
        self._next = 0.0
        if bounds.repository_mb and self._room <= 0:
            raise too_big(bounds)

    @property
    def limits(self) -> Limits:
        """Return the limits of the process; the kernel holds them between two looks."""
        return Limits(memory=settings.GIT_MEMORY_MB * MB, file_size=self._room)

    def explained(self, error: GitError) -> GitError:
        """Return why a fetch failed: git does not say that the kernel ended it because a file grew too large."""
        largest = max(sizes_below(self._objects), default=0)
        return too_big(self._bounds) if 0 < self._room <= largest + PAGE else error

    def __call__(self) -> None:
        """Look, if it is time to."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self.EVERY
        if self._room and size_of(self._objects) > self._room:
            raise too_big(self._bounds)
        # Admission stops at the floor; what runs then may end, and is stopped half-way to a full disk.
        if short := shortage(self._bounds.disk_floor_mb, share=0.5):
            raise GitError(Outcome.RESOURCE, f"stopped: {short}")


def too_big(bounds: Bounds) -> GitError:
    """Return the error of a repository that is too large."""
    return GitError(
        Outcome.TOO_BIG,
        f"the repository is larger than the limit of {bounds.repository_mb} MB: mirror fewer refs, or raise it with "
        "`manage.py settings set repository_limit_mb NUMBER`",
    )


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
