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
        data = self._buffer + data
        parts: list[bytes] = []
        at, is_whole = self._walk(data, parts)
        if body := b"".join(parts):
            self._sink(body)
        self._buffer = b"" if is_whole else data[at:]
        return data[at:] if is_whole else None

    def _walk(self, data: bytes, parts: list[bytes]) -> tuple[int, bool]:
        """Collect the parts of the body; return up to where it is read, and whether it ends there.

        By offset: if what is left were cut anew at each of 40,000 tiny chunks, one read would take half a second.
        """
        at, end = 0, len(data)
        while at < end:
            if self._left:
                at = self._take(data, at, parts)
                if self._left:
                    return at, False
                continue
            found = data.find(b"\r\n", at)
            if found < 0:
                if end - at > LONGEST_LINE:
                    raise BadAnswer("the answer has a chunk without end")
                return at, False
            line, at = data[at:found], found + 2
            if not self._in_trailer:
                self._begin(line.partition(b";")[0].strip(b" \t"))
            elif not line:
                return at, True
        return at, False

    def _take(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Collect what is there of a chunk, and return where that ends. Its end of line is passed on to nobody."""
        stop = at + self._left
        is_whole = stop <= len(data)
        if not is_whole:
            stop = min(len(data), stop - 2)
        elif data[stop - 2 : stop] != b"\r\n":
            raise BadAnswer("the answer has a broken chunk")
        parts.append(data[at : stop - 2 if is_whole else stop])
        self._left -= stop - at
        return stop

    def _begin(self, size: bytes) -> None:
        if not _HEX.match(size):
            raise BadAnswer("the answer has a broken chunk")
        length = int(size, 16)
        self._in_trailer = not length
        self._left = length + 2 if length else 0


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
    """Passes on what a gzipped body holds, a piece at each call; while it `waits`, more of what came is to be unpacked.

    So the sink can stop a bomb before it is in memory, and whoever reads can serve others in between.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink, self._zip = sink, zlib.decompressobj(_GZIP)
        self._rest = b""

    @property
    def waits(self) -> bool:
        """Say whether there is more to unpack."""
        return bool(self._rest) and not self._zip.eof

    def __call__(self, data: bytes) -> None:
        try:
            body = self._zip.decompress(self._rest + data, _PIECE)
        except zlib.error:
            raise BadAnswer("the answer is not gzip, though it says so") from None
        self._rest = self._zip.unconsumed_tail
        self._sink(body)

    def end(self) -> None:
        """Raise BadAnswer if something is missing."""
        if not self._zip.eof:
            raise BadAnswer("the answer breaks off")
