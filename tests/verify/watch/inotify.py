"""What the kernel says of changes in folders, in their order; a rename's two ends carry the same cookie."""

import ctypes
import os
import select
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOVED_FROM, MOVED_TO, CREATE = 0x40, 0x80, 0x100
IS_FOLDER, IGNORED, OVERFLOW = 0x40000000, 0x8000, 0x4000
HEADER = struct.Struct("iIII")


@dataclass(frozen=True)
class Change:
    """One event: the folder it happened in, by its watch, and the name that came or went."""

    watch: int
    mask: int
    cookie: int
    name: str


class Inotify:
    """The kernel's queue of events of this process."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "the kernel gives no inotify")

    def add(self, folder: Path) -> int | None:
        """Watch a folder and return its number; None if it has gone. The watch follows a folder that is renamed."""
        mask = MOVED_FROM | MOVED_TO | CREATE
        watch: int = self._libc.inotify_add_watch(self.descriptor, os.fsencode(folder), mask)
        if watch >= 0:
            return watch
        if (error := ctypes.get_errno()) in (2, 20):  # No such file, or no folder.
            return None
        raise OSError(error, f"{folder} cannot be watched: {os.strerror(error)}")

    def wait(self, seconds: float) -> Iterator[Change]:
        """Wait for events and yield them."""
        if not select.select([self.descriptor], [], [], seconds)[0]:
            return
        data, at = os.read(self.descriptor, 1 << 16), 0
        while at < len(data):
            watch, mask, cookie, length = HEADER.unpack_from(data, at)
            name = data[at + HEADER.size : at + HEADER.size + length].rstrip(b"\0")
            at += HEADER.size + length
            yield Change(watch, mask, cookie, os.fsdecode(name))

    def close(self) -> None:
        """Close the queue."""
        os.close(self.descriptor)
