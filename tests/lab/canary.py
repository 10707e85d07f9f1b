"""Sockets where nobody has any business: each connection is written down, with the first bytes that it sent."""

import selectors
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Self

KEPT = 200


class Canary:
    """Listen at inner addresses and note whoever connects, while the block runs."""

    def __init__(self, places: Iterable[tuple[str, int]], *, note: Callable[..., None]) -> None:
        self._note = note
        self._stopping = threading.Event()
        self._selector = selectors.DefaultSelector()
        self.places = list(places)
        for place in self.places:
            family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
            listener = socket.create_server(place, family=family, backlog=64)
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._thread.join(5)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]

    def _listen(self) -> None:
        while not self._stopping.is_set():
            for key, _ in self._selector.select(0.1):
                with suppress(OSError):
                    self._take(key.fileobj)  # type: ignore[arg-type]

    def _take(self, listener: socket.socket) -> None:
        connection, client = listener.accept()
        place = listener.getsockname()[:2]
        said = b""
        with connection, suppress(OSError):
            # The hit is noted first: what is said may never come.
            self._note("canary", at=f"{place[0]} {place[1]}", client=f"{client[0]} {client[1]}")
            connection.settimeout(0.3)
            said = connection.recv(KEPT)
        if said:
            self._note("canary_heard", at=f"{place[0]} {place[1]}", said=said.decode("latin-1"))
