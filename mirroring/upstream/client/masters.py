"""SSH connections that are kept and shared: one for all questions that go the same way with the same key.

Each is held by an ssh process, the master, which is started by whoever knows whom it may contact. It is ended when it
has been idle, when it is old, and with the event loop; what ties it to this process is for its starter to do.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mirroring.upstream.client.http1 import Lost
from mirroring.upstream.client.mux import running
from mirroring.upstream.client.protocol import Listing
from mirroring.upstream.client.ssh_listing import VERSION_2, Room, command_for, list_refs

IDLE_SECONDS = 60.0
OLDEST_SECONDS = 600.0
"""A connection is not used for longer: the next one is judged, and shows its key, anew."""

STARTED_AT_ONCE = 8


class Master(Protocol):
    """A process that holds one connection."""

    @property
    def control(self) -> Path:
        """Return where commands are asked for."""

    @property
    def runs(self) -> bool:
        """Say whether it still does."""

    def end(self) -> None:
        """End it."""


@dataclass
class _Held:
    master: Master
    opened: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.monotonic)
    questions: int = 0

    @property
    def is_good(self) -> bool:
        now = time.monotonic()
        young = now - self.opened < OLDEST_SECONDS
        return young and self.master.runs and (self.questions > 0 or now - self.used < IDLE_SECONDS)


class Masters:
    """The shared connections of one event loop."""

    def __init__(self) -> None:
        self._held: dict[Hashable, _Held] = {}
        self._retired: list[_Held] = []
        self._opening: dict[Hashable, asyncio.Task[_Held]] = {}
        self._room = Room()
        # A master dies with the thread that started it: these live as long as this object.
        self._threads = ThreadPoolExecutor(STARTED_AT_ONCE, thread_name_prefix="ssh-masters")

    async def list(
        self, key: Hashable, path: str, refspecs: tuple[str, ...], *, start: Callable[[], Master]
    ) -> tuple[Listing, int]:
        """Return what a repository lists, and how long the answer was.

        `key`: all that decides whether a connection may be shared; `start` opens one, and may block. Raise OSError,
        BadAnswer or Unsupported, and whatever `start` raises. A kept connection that is gone is replaced once.
        """
        held = self._take(key)
        if held is not None:
            with suppress(Lost):
                return await self._through(held, path, refspecs)
            self._retire(key, held)
        return await self._through(await self._opened(key, start), path, refspecs)

    async def _through(self, held: _Held, path: str, refspecs: tuple[str, ...]) -> tuple[Listing, int]:
        held.questions += 1
        try:
            async with running(held.master.control, command_for(path), VERSION_2) as command:
                return await list_refs(command, refspecs, self._room)
        finally:
            held.questions -= 1
            held.used = time.monotonic()

    def _take(self, key: Hashable) -> _Held | None:
        held = self._held.get(key)
        if held is not None and not held.is_good:
            self._retire(key, held)
            return None
        return held

    def _retire(self, key: Hashable, held: _Held) -> None:
        """Use it for nothing more; it ends when nothing more is under way on it."""
        if self._held.get(key) is held:
            del self._held[key]
            self._retired.append(held)
            self._bury()

    def _bury(self) -> None:
        over = [held for held in self._retired if not held.questions or not held.master.runs]
        self._retired = [held for held in self._retired if held not in over]
        for held in over:
            held.master.end()

    async def _opened(self, key: Hashable, start: Callable[[], Master]) -> _Held:
        """Return a new connection. All who wait for the same one get it; one who gives up stops nobody else."""
        if held := self._take(key):
            return held
        if key not in self._opening:
            self._opening[key] = asyncio.get_running_loop().create_task(self._open(key, start))
        return await asyncio.shield(self._opening[key])

    async def _open(self, key: Hashable, start: Callable[[], Master]) -> _Held:
        try:
            master = await asyncio.get_running_loop().run_in_executor(self._threads, start)
            self._held[key] = _Held(master)
            return self._held[key]
        finally:
            del self._opening[key]

    def tidy(self) -> None:
        """End what has been idle for long, is old, or has lost its connection."""
        for key, held in list(self._held.items()):
            if not held.is_good:
                self._retire(key, held)
        self._bury()

    def close(self) -> None:
        """End all."""
        for held in [*self._held.values(), *self._retired]:
            held.master.end()
        self._held.clear()
        self._retired.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)
