"""How the body of an HTTP/1.1 answer is framed, and where it ends.

Source of the framing: RFC 9112, sections 6 and 7. What it leaves open to two readings is refused.
"""

import re
import zlib
from collections.abc import Callable

from mirroring.upstream.client.protocol import BadAnswer

LONGEST_LINE = 4096
_HEX = re.compile(rb"\A[0-9A-Fa-f]{1,15}\Z")
_GZIP = 31
"""The window bits by which zlib knows gzip."""

_PIECE = 256 * 1024
Sink = Callable[[bytes], object]
"""Takes the body piece by piece; raises BadAnswer to end the exchange."""


class Sized:
    """A body of known length."""

    def __init__(self, length: int, sink: Sink) -> None:
        self._left, self._sink = length, sink

    def feed(self, data: bytes) -> bytes | None:
        """Take what came; None: more is to come, else what came after the end."""
        if len(data) <= self._left:
            self._left -= len(data)
            self._sink(data)
            return None if self._left else b""
        self._sink(data[: self._left])
        return data[self._left :]


class Chunked:
    """A body in chunks; trailers are read and dropped."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = b""
        self._left = 0
        self._in_trailer = False

    def feed(self, data: bytes) -> bytes | None:
        """Take what came; None: more is to come, else what came after the end."""
        self._buffer += data
        while self._buffer:
            if self._left:
                if not self._take():
                    return None
                continue
            line, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                if len(line) > LONGEST_LINE:
                    raise BadAnswer("the answer has a chunk without end")
                return None
            self._buffer = rest
            if self._in_trailer:
                if not line:
                    return rest
                continue
            self._begin(line.partition(b";")[0].strip(b" \t"))
        return None

    def _begin(self, size: bytes) -> None:
        if not _HEX.match(size):
            raise BadAnswer("the answer has a broken chunk")
        length = int(size, 16)
        self._in_trailer = not length
        self._left = length + 2 if length else 0

    def _take(self) -> bool:
        """Pass on what is there of a chunk, without its end of line. False: the rest is to come."""
        if len(self._buffer) < self._left:
            ready = min(len(self._buffer), self._left - 2)
            if ready > 0:
                self._sink(self._buffer[:ready])
                self._buffer, self._left = self._buffer[ready:], self._left - ready
            return False
        if self._buffer[self._left - 2 : self._left] != b"\r\n":
            raise BadAnswer("the answer has a broken chunk")
        self._sink(self._buffer[: self._left - 2])
        self._buffer, self._left = self._buffer[self._left :], 0
        return True


class UntilClosed:
    """A body that ends with the connection. Whether it is whole, only its reader can tell."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def feed(self, data: bytes) -> bytes | None:
        """Take what came; more may come."""
        if data:
            self._sink(data)
        return None


class Unzipped:
    """Passes on what a gzipped body holds."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self._zip = sink, zlib.decompressobj(_GZIP)

    def __call__(self, data: bytes) -> None:
        try:
            while data and not self._zip.eof:
                # In bounded pieces, so that the sink can stop a bomb before it is in memory.
                self._sink(self._zip.decompress(data, _PIECE))
                data = self._zip.unconsumed_tail
        except zlib.error:
            raise BadAnswer("the answer is not gzip, though it says so") from None

    def end(self) -> None:
        """Raise BadAnswer if something is missing."""
        if not self._zip.eof:
            raise BadAnswer("the answer breaks off")
