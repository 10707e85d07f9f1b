"""One kept-alive HTTP/1.1 connection on an event loop: a request out, an answer in, bounded and strictly framed."""

import asyncio
import re
from dataclasses import dataclass

from mirroring.upstream.client.http_bodies import Chunked, Sink, Sized, UntilClosed, Unzipped
from mirroring.upstream.client.protocol import BadAnswer

MAX_HEAD = 32 * 1024
_STATUS = re.compile(rb"\AHTTP/1\.([01]) ([1-5]\d\d)(?: [^\r\n]*)?\Z")
_TOKEN = re.compile(rb"\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_DIGITS = re.compile(rb"\A\d{1,18}\Z")


class Lost(OSError):
    """The connection ended before the answer did."""


@dataclass(frozen=True)
class Head:
    """Status and header fields of an answer; the names are in lower case."""

    status: int
    fields: dict[bytes, bytes]

    @property
    def content_type(self) -> str:
        """Return the media type, without its parameters."""
        return self.fields.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")


def read_head(block: bytes) -> tuple[Head, bool]:
    """Return the head of an answer, and whether the connection may be kept after it."""
    first, *lines = block.split(b"\r\n")
    found = _STATUS.match(first)
    if not found:
        raise BadAnswer("the answer is not HTTP/1.1")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or not _TOKEN.match(name):
            raise BadAnswer("the answer has a broken header")
        if name in fields and name in {
            b"content-length",
            b"transfer-encoding",
            b"content-encoding",
            b"location",
        }:
            raise BadAnswer(f"the answer has two headers {name.decode('latin-1')}")
        fields[name] = value.strip(b" \t")
    keeps = found[1] == b"1" and b"close" not in fields.get(b"connection", b"").lower()
    return Head(int(found[2]), fields), keeps


class Connection(asyncio.Protocol):
    """One connection, one exchange at a time. `usable`: another request may follow."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.usable = True
        self.exchanges = 0
        self._tunnels = False
        self._waiter: asyncio.Future[Head] | None = None
        self._sink: Sink = bytes
        self._start()

    def _start(self) -> None:
        self._pending = b""
        self._head: Head | None = None
        self._body: Sized | Chunked | UntilClosed | None = None
        self._unzipped: Unzipped | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        self.transport = transport  # type: ignore[assignment]

    async def exchange(self, request: bytes, sink: Sink) -> Head:
        """Send a request, pass the answer's body to the sink, and return its head once all is in.

        Raise Lost or BadAnswer; after either, and after a cancellation, the connection is closed.
        """
        if self.transport is None or not self.usable:
            raise Lost("the connection is closed")
        self._waiter = asyncio.get_running_loop().create_future()
        self._sink = sink
        self._start()
        self.transport.write(request)
        try:
            head = await self._waiter
        except BaseException:
            self.close()
            raise
        finally:
            self._waiter = None
        self.exchanges += 1
        return head

    async def tunnel(self, request: bytes) -> bool:
        """Ask a proxy for a tunnel and say whether it is open: from then on the other end speaks."""
        self._tunnels = True
        try:
            return 200 <= (await self.exchange(request, bytes)).status < 300
        finally:
            self._tunnels = False

    def close(self) -> None:
        """Close at once."""
        self.usable = False
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on. What comes unasked for closes the connection: it might be taken for the next answer."""
        if self._waiter is None or self._waiter.done():
            self.close()
            return
        try:
            if self._body is None:
                data = self._read_head(data)
            rest = self._body.feed(data) if self._body else None
            if rest is not None:
                self._end(clean=not rest)
        except BadAnswer as error:
            self._waiter.set_exception(error)

    def _read_head(self, data: bytes) -> bytes:
        """Read the head if it is whole, and return what came after it."""
        data = self._pending + data
        while self._body is None:
            block, found, rest = data.partition(b"\r\n\r\n")
            if len(block) > MAX_HEAD:
                raise BadAnswer("the answer has a head without end")
            if not found:
                self._pending = data
                return b""
            data = rest
            head, keeps = read_head(block)
            if head.status >= 200:  # An interim answer is followed by another.
                self._begin(head, keeps=keeps)
        return data

    def _begin(self, head: Head, *, keeps: bool) -> None:
        """Choose how the body is read, by the rules of RFC 9112, 6.3."""
        self._head, self.usable = head, keeps and self.usable
        coding = head.fields.get(b"content-encoding", b"identity").lower()
        sink = self._sink
        if coding in {b"gzip", b"x-gzip"}:
            sink = self._unzipped = Unzipped(sink)
        elif coding != b"identity":
            raise BadAnswer("the answer is encoded in a way that was not asked for")
        length, transfer = head.fields.get(b"content-length"), head.fields.get(b"transfer-encoding")
        if head.status in {204, 304} or (self._tunnels and head.status < 300):
            self._unzipped, self._body = None, Sized(0, sink)
        elif transfer is not None:
            if transfer.lower() != b"chunked" or length is not None:
                raise BadAnswer("the answer's length can be read in two ways")
            self._body = Chunked(sink)
        elif length is not None:
            if not _DIGITS.match(length):
                raise BadAnswer("the answer has a broken length")
            self._body = Sized(int(length), sink)
        else:
            self.usable, self._body = False, UntilClosed(sink)

    def _end(self, *, clean: bool) -> None:
        if self._unzipped is not None:
            self._unzipped.end()
        self.usable = self.usable and clean
        if self._waiter is not None and self._head is not None:
            self._waiter.set_result(self._head)

    def eof_received(self) -> bool:
        """Let the transport close."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits. A body without a length ends well here."""
        self.usable = False
        if self._waiter is None or self._waiter.done():
            return
        if isinstance(self._body, UntilClosed) and error is None:
            try:
                self._end(clean=True)
            except BadAnswer as bad:
                self._waiter.set_exception(bad)
        else:
            self._waiter.set_exception(Lost(f"the connection was cut: {error or 'closed by the server'}"))
