"""The start and end of every request, in an order that can be relied on as evidence.

An interval in the log is never longer than what the client saw: the end is written before the last bytes
are sent, and before each start the requests whose client has gone are ended first. So a count of open
requests that is above the cap was really above it.
"""

import itertools
import json
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class RequestLog:
    """Write one JSON line for each start and each end, under one lock."""

    def __init__(self, path: Path | None) -> None:
        self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, socket.socket] = {}

    def start(self, client: socket.socket, *, repository: str, kind: str, behaviour: str) -> int:
        """Note the start of a request and return its number. A client that has gone already starts nothing."""
        with self._lock:
            if has_gone(client):
                raise ConnectionAbortedError("the client went away before its request was read")
            for number in [number for number, other in self._open.items() if has_gone(other)]:
                self._end(number, status=0, sent=0)
            number = next(self._numbers)
            self._open[number] = client
            self._write("start", number, repository=repository, kind=kind, behaviour=behaviour)
            return number

    def end(self, number: int, *, status: int, sent: int = 0) -> None:
        """Note the end of a request; only the first call for a number counts. Status 0: the client went away."""
        with self._lock:
            if number in self._open:
                self._end(number, status=status, sent=sent)

    def close(self) -> None:
        """End what is open and close the file."""
        with self._lock:
            for number in list(self._open):
                self._end(number, status=0, sent=0)
            if self._file:
                self._file.close()
                self._file = None

    def _end(self, number: int, *, status: int, sent: int) -> None:
        del self._open[number]
        self._write("end", number, status=status, sent=sent)

    def _write(self, event: str, number: int, **fields: object) -> None:
        if self._file:
            line = {"event": event, "id": number, **fields, "t": time.monotonic(), "wall": time.time()}
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._file.flush()


def has_gone(client: socket.socket) -> bool:
    """Tell whether the other side has closed this connection."""
    if client.fileno() < 0:
        return True
    poller = select.poll()
    poller.register(client, GONE)
    return any(event & (GONE | select.POLLNVAL) for _, event in poller.poll(0))


def wait_while_connected(client: socket.socket, *, seconds: float, stopped: Callable[[], bool]) -> bool:
    """Wait, but no longer than the client does. True if the client is still there."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if stopped() or has_gone(client):
            return False
        time.sleep(min(left, 0.05))
    return not stopped()
