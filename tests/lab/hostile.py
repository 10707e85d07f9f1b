"""An HTTP server that means harm. What it does depends on the first part of the path, by the scene it is given.

    with HostileServer(scene, addresses=[("11.0.0.10", 80)], note=note): ...

A scene maps the first part of a path to a deed: a function that gets the exchange and does what it likes with it.
"""

import gzip
import itertools
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.lab import git_backend
from tests.lab.request_log import wait_while_connected

SERVICES = ("/info/refs", "/git-upload-pack")
ADVERTISED = ("Content-Type", "application/x-git-upload-pack-advertisement")
RESULT = ("Content-Type", "application/x-git-upload-pack-result")
FOREVER = 3_600.0

Deed = Callable[["Exchange"], None]


class HostileServer:
    """The scene on one or more addresses, over TLS if a context is given, while the block runs."""

    def __init__(
        self,
        scene: Mapping[str, Deed],
        *,
        addresses: Iterable[tuple[str, int]],
        note: Callable[..., None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.scene, self.note, self.tls = scene, note, tls
        self.stopping = threading.Event()
        self._servers = [_Http(address, Exchange) for address in addresses]
        for server in self._servers:
            server.hostile = self

    @property
    def port(self) -> int:
        """Return the port of the first address, also where it was left to the system."""
        return int(self._servers[0].server_address[1])

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopping.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    hostile: HostileServer

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.hostile.tls:
            # Here, in the thread of the connection: a client that says nothing must hold up nobody else.
            request.settimeout(20)
            request = self.hostile.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)
        if self.hostile.tls:
            with suppress(OSError, ValueError):
                request.unwrap()  # Else the end of a body looks like one that somebody cut off.

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients that go away are what we want."""


class Exchange(BaseHTTPRequestHandler):
    """One request, and what a deed can do with it."""

    protocol_version = "HTTP/1.1"
    server: _Http

    def do_GET(self) -> None:
        self._act()

    do_POST = do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Our own note says it all."""

    def _act(self) -> None:
        hostile = self.server.hostile
        self.case = urlsplit(self.path).path.strip("/").partition("/")[0]
        host, port = self.connection.getsockname()[:2]
        headers = {name.lower(): value for name, value in self.headers.items()}
        hostile.note("request", case=self.case, at=f"{host} {port}", path=self.path, method=self.command,
                     headers=headers)  # fmt: skip
        self.body = git_backend.read_body(self.headers, self.rfile)
        self.sent = 0
        deed = hostile.scene.get(self.case, status(404))
        with suppress(OSError):
            deed(self)
        hostile.note("answered", case=self.case, path=self.path, sent=self.sent)

    # -- for deeds ----------------------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        return self.server.hostile.stopping.is_set()

    @property
    def is_handshake(self) -> bool:
        return self.command == "GET"

    def head(self, code: int, *headers: tuple[str, str], length: int | None = None) -> None:
        """Send the head of an answer; without a length the body ends with the connection."""
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        if length is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.sent += len(data)

    def answer(self, code: int, *headers: tuple[str, str], body: bytes = b"") -> None:
        self.head(code, *headers, length=len(body))
        self.send(body)


# -- deeds ---------------------------------------------------------------------------------------------------------


def serve(repository: Path) -> Deed:
    """Serve a repository as an honest server does."""

    def deed(exchange: Exchange) -> None:
        url = urlsplit(exchange.path)
        service = next((each for each in SERVICES if url.path.endswith(each)), "")
        headers = {name.lower(): value for name, value in exchange.headers.items()}
        request = git_backend.Request(
            exchange.command, repository, service, url.query, headers, exchange.body
        )
        with git_backend.answer(request) as answer:
            exchange.head(answer.status, *answer.headers)
            for piece in git_backend.pieces(answer.body):
                exchange.send(piece)

    return deed


def status(code: int, *headers: tuple[str, str], body: bytes = b"") -> Deed:
    """Refuse with a status."""
    return lambda exchange: exchange.answer(code, *headers, body=body)


def redirect(code: int, location: str) -> Deed:
    """Send the client elsewhere; `{rest}` stands for the path and query behind the first part, `{case}` for that."""

    def deed(exchange: Exchange) -> None:
        rest = exchange.path.lstrip("/").partition("/")[2]
        target = location.replace("{rest}", rest).replace("{case}", exchange.case)
        exchange.answer(code, ("Location", target))

    return deed


def only_post(deed: Deed, honest: Deed) -> Deed:
    """Shake hands honestly, and do the deed when objects are asked for."""
    return lambda exchange: honest(exchange) if exchange.is_handshake else deed(exchange)


def alternating(*deeds: Deed) -> Deed:
    """Do another deed at each request."""
    turns = itertools.cycle(deeds)
    return lambda exchange: next(turns)(exchange)


def silent(exchange: Exchange) -> None:
    """Never answer."""
    wait_while_connected(exchange.connection, seconds=FOREVER, stopped=lambda: exchange.stopping)
    exchange.close_connection = True


def hang_up(exchange: Exchange) -> None:
    """Close without a word."""
    exchange.close_connection = True


def garbage(exchange: Exchange) -> None:
    """Answer something that is no HTTP."""
    exchange.wfile.write(b"\x15\x03\x01\x00\x02\x02\x28 \x00\xff SSH-2.0-nothing\r\n" * 50)
    exchange.close_connection = True


def endless_headers(exchange: Exchange) -> None:
    """Send headers without end."""
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        exchange.send(b"X-%d: %b\r\n" % (number, b"a" * 1000))
        if exchange.stopping:
            return


def endless(
    piece: bytes, *, kind: tuple[str, str] = ADVERTISED, begin: bytes = b"", pause: float = 0.0
) -> Deed:
    """Send a body without end; with a pause it drips."""

    def deed(exchange: Exchange) -> None:
        exchange.head(200, kind)
        exchange.send(begin)
        while not exchange.stopping:
            exchange.send(piece)
            if pause:
                exchange.wfile.flush()
                time.sleep(pause)

    return deed


def inflating(megabytes: int) -> Deed:
    """Send a small body that gzip makes into a huge one."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = b"0" * (1 << 20)
    body = b"".join([*(packer.compress(zeros) for _ in range(megabytes)), packer.flush()])
    assert gzip.decompress(body[:0]) == b""
    return lambda exchange: exchange.answer(200, ADVERTISED, ("Content-Encoding", "gzip"), body=body)


def advertising(repository: Path, lines: Callable[[str], list[bytes]]) -> Deed:
    """List refs that we make up, by the old protocol; the objects come from a repository.

    `lines` gets the object id of that repository's HEAD and returns `<id> <name>` lines.
    """
    honest = serve(repository)
    head = _head_of(repository)

    def deed(exchange: Exchange) -> None:
        if not exchange.is_handshake:
            honest(exchange)
            return
        capabilities = b"\0side-band-64k ofs-delta no-progress symref=HEAD:refs/heads/main agent=git/2.39"
        first, *others = lines(head)
        packets = [first + capabilities, *others]
        body = packet(b"# service=git-upload-pack\n") + b"0000"
        exchange.answer(
            200, ADVERTISED, body=body + b"".join(packet(each + b"\n") for each in packets) + b"0000"
        )

    return deed


def packet(payload: bytes) -> bytes:
    """Return one pkt-line; what is too long for one is sent with a wrong length, as an attacker would."""
    return b"%04x" % min(len(payload) + 4, 65_520) + payload


def _head_of(repository: Path) -> str:
    from tests.lab import fast_import

    return fast_import.run(repository, "rev-parse", "HEAD").strip()
