"""Kept-alive connections to upstreams, shared by all who ask on one event loop.

An address is asked for when a connection is opened, and the connection then stays with it: that is what pins it.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from mirroring.upstream.client.dialing import Dial, Origin, connect, remember_session
from mirroring.upstream.client.http1 import Connection, Head, Lost, Then
from mirroring.upstream.client.http_bodies import Sink
from mirroring.upstream.client.protocol import BadAnswer

IDLE_SECONDS = 60.0
OLDEST_SECONDS = 600.0
"""A connection is not used for longer: the next one asks anew which address it may go to."""

MOST_IDLE, SURPLUS = 512, 64
"""Connections that may idle, and how many more until they are counted out: each is an open file."""


@dataclass
class _Held:
    connection: Connection
    opened: float
    used: float


@dataclass
class Pool:
    """The connections of one event loop."""

    _idle: dict[Origin, list[_Held]] = field(default_factory=dict)
    opened: int = 0
    _idling: int = 0

    async def exchange(self, origin: Origin, request: bytes, sink: Callable[[], Sink], *, dial: Dial) -> Head:
        """Send one request and return the head of its answer; the body goes into a sink of its own for each try.

        Raise OSError, BadAnswer or Unsupported. Whoever calls sets the time limit. A kept connection that turns out
        to be closed is replaced once by a new one; requests must therefore be harmless to repeat.
        """
        held = self._take(origin)
        if held is not None:
            with suppress(Lost):
                return await self._through(held, origin, request, sink())
        connection = await connect(origin, dial)
        self.opened += 1
        now = time.monotonic()
        return await self._through(_Held(connection, opened=now, used=now), origin, request, sink())

    def begin(self, origin: Origin, request: bytes, sink: Sink, then: Then) -> Connection | None:
        """Send one request on a kept connection, if there is one, and return that. `then` is told how it ended."""
        held = self._take(origin)
        if held is None:
            return None

        def back(result: Head | OSError | BadAnswer) -> None:
            self._keep(held, origin)
            then(result)

        held.connection.begin(request, sink, back)
        return held.connection

    def _keep(self, held: _Held, origin: Origin) -> None:
        if held.connection.usable:
            held.used = time.monotonic()
            self._idle.setdefault(origin, []).append(held)
            self._idling += 1
            if self._idling > MOST_IDLE + SURPLUS:
                self.tidy()
        else:
            held.connection.close()

    async def _through(self, held: _Held, origin: Origin, request: bytes, sink: Sink) -> Head:
        head = await held.connection.exchange(request, sink)
        if held.connection.exchanges == 1:
            remember_session(held.connection, origin)
        self._keep(held, origin)
        return head

    def _take(self, origin: Origin) -> _Held | None:
        """Return the connection that was used last, if one is still good."""
        idle, now = self._idle.get(origin, []), time.monotonic()
        while idle:
            held = idle.pop()
            self._idling -= 1
            if (
                held.connection.usable
                and now - held.used < IDLE_SECONDS
                and now - held.opened < OLDEST_SECONDS
            ):
                return held
            held.connection.close()
        return None

    def tidy(self) -> None:
        """Close what has been idle for long, and the longest idle ones beyond MOST_IDLE."""
        now = time.monotonic()
        kept = [(held, origin) for origin, idle in self._idle.items() for held in idle]
        kept.sort(key=lambda pair: pair[0].used)
        surplus = len(kept) - MOST_IDLE
        for number, (held, origin) in enumerate(kept):
            if number < surplus or not held.connection.usable or now - held.used > IDLE_SECONDS:
                held.connection.close()
                self._idle[origin].remove(held)
        self._idle = {origin: idle for origin, idle in self._idle.items() if idle}
        self._idling = sum(map(len, self._idle.values()))

    def close(self) -> None:
        """Close every idle connection."""
        for idle in self._idle.values():
            for held in idle:
                held.connection.close()
        self._idle.clear()
        self._idling = 0
