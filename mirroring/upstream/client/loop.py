"""The event loop of this process for upstreams, in a thread of its own, with the connections that all who ask share."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from mirroring.upstream.client.connections import Pool
from mirroring.upstream.client.masters import Masters

T = TypeVar("T")


class Loop:
    """An event loop in a thread of its own, with the connections that all who ask share."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.pool = Pool()
        self.masters = Masters()

    def get(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, started at the first call."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._run, args=(self._loop,), name="upstreams", daemon=True
                )
                self._thread.start()
            return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.create_task(self._tidy())
        loop.run_forever()

    def close(self) -> None:
        """Close the connections and end the thread."""
        loop, self._loop = self._loop, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._end(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()

    async def _end(self) -> None:
        self.pool.close()
        self.masters.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(5)
            self.pool.tidy()
            self.masters.tidy()

    def run(self, work: Coroutine[Any, Any, T], *, seconds: float) -> T:
        """Run a coroutine on the loop and wait for it. Raise TimeoutError, and what it raises."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, seconds), self.get())
        return future.result()


LOOP = Loop()
"""The loop of this process."""
