"""One kept-alive HTTP/1.1 connection on an event loop: a request out, an answer in, bounded and strictly framed."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mirroring.upstream.client.http_bodies import Chunked, Sink, Sized, UntilClosed, Unzipped
from mirroring.upstream.client.protocol import BadAnswer

MAX_HEAD = 32 * 1024
_STATUS = re.compile(rb"\AHTTP/1\.([01]) ([1-5]\d\d)(?: [^\r\n]*)?\Z")
_FIELD = re.compile(rb"(?:\A|(?<=\r\n))([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n]*)(?=\r\n|\Z)")
_ONCE = (b"content-length", b"transfer-encoding", b"content-encoding", b"location")
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
    first, _, rest = block.partition(b"\r\n")
    found = _STATUS.match(first)
    if not found:
        raise BadAnswer("the answer is not HTTP/1.1")
    pairs = [(name.lower(), value.strip(b" \t")) for name, value in _FIELD.findall(rest)]
    if len(pairs) != (rest.count(b"\r\n") + 1 if rest else 0):
        raise BadAnswer("the answer has a broken header")
    fields = dict(pairs)
    if len(fields) != len(pairs):
        _check_once(pairs)
    keeps = found[1] == b"1" and b"close" not in fields.get(b"connection", b"").lower()
    return Head(int(found[2]), fields), keeps


def _check_once(pairs: list[tuple[bytes, bytes]]) -> None:
    names = [name for name, _ in pairs]
    for name in _ONCE:
        if names.count(name) > 1:
            raise BadAnswer(f"the answer has two headers {name.decode('latin-1')}")


class Connection(asyncio.Protocol):
    """One connection, one exchange at a time. `usable`: another request may follow."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.usable = True
        self.exchanges = 0
        self._tunnels = False
        self._then: Then | None = None
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

    def begin(self, request: bytes, sink: Sink, then: "Then") -> None:
        """Send a request and pass the answer's body to the sink; `then` is called once, when all is in or lost.

        It is given the head, or Lost or BadAnswer; after either of these the connection is closed.
        """
        if self.transport is None or not self.usable or self._then is not None:
            raise Lost("the connection is closed, or waits for an answer")
        self._then, self._sink = then, sink
        self._start()
        self.transport.write(request)

    async def exchange(self, request: bytes, sink: Sink) -> Head:
        """Send a request and return the head of its answer. Raise what `begin` tells; a cancellation closes, too."""
        waiter: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        self.begin(request, sink, partial(_resolve, waiter))
        try:
            return await waiter
        except BaseException:
            self.close()
            raise

    def _finish(self, result: Head | OSError | BadAnswer) -> None:
        then, self._then = self._then, None
        self._sink = bytes  # A connection that idles keeps nothing of what came in.
        self._start()
        if isinstance(result, Head):
            self.exchanges += 1
        else:
            self.close()
        if then is not None:
            then(result)

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
        if self._then is None:
            self.close()
            return
        try:
            if self._body is None:
                data = self._read_head(data)
            rest = self._body.feed(data) if self._body else None
            if self._unzipped is not None and self._unzipped.waits:
                self._unzip_later(self._unzipped, rest)
            elif rest is not None:
                self._end(clean=not rest)
        except BadAnswer as error:
            self._finish(error)

    def _unzip_later(self, unzipped: Unzipped, rest: bytes | None) -> None:
        """Unpack the next piece of what came once others have had their turn; nothing is read until all is unpacked."""
        if self.transport is not None:
            self.transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._unzip, unzipped, rest)

    def _unzip(self, unzipped: Unzipped, rest: bytes | None) -> None:
        if self._unzipped is not unzipped:
            return  # The exchange has ended.
        try:
            unzipped(b"")
            if unzipped.waits:
                self._unzip_later(unzipped, rest)
                return
            if self.transport is not None:
                self.transport.resume_reading()
            if rest is not None:
                self._end(clean=not rest)
        except BadAnswer as error:
            self._finish(error)

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
        if self._head is not None:
            self._finish(self._head)

    def eof_received(self) -> bool:
        """Let the transport close."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits. A body without a length ends well here."""
        self.usable = False
        if self._then is None:
            return
        if isinstance(self._body, UntilClosed) and error is None:
            try:
                self._end(clean=True)
            except BadAnswer as bad:
                self._finish(bad)
        else:
            self._finish(Lost(f"the connection was cut: {error or 'closed by the server'}"))


Then = Callable[[Head | OSError | BadAnswer], None]
"""Is told how an exchange ended."""


def _resolve(waiter: asyncio.Future[Head], result: Head | OSError | BadAnswer) -> None:
    if waiter.done():
        return
    if isinstance(result, Head):
        waiter.set_result(result)
    else:
        waiter.set_exception(result)
