"""An upstream that answers protocol v2 from memory, so that a test or a measurement sees the client and not git.

In a test:      with MemoryUpstream() as upstream: upstream.repositories["a"] = Refs({...}); url = upstream.url_of("a")
As a process:   python -m tests.lab.memory_upstream --repositories N --refs N [--seed N]
The process serves N repositories called 0, 1, ..., each with refs of its own; it prints one line {"url": ...} and ends
when its standard input does. A line on standard input is the number of a repository that gets a new commit.
"""

import argparse
import asyncio
import gzip
import hashlib
import json
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

PREFIX = b"ref-prefix "


def packet(line: bytes) -> bytes:
    return b"%04x%b" % (len(line) + 4, line)


@dataclass
class Refs:
    """What a repository lists."""

    refs: dict[str, str]
    head: str = "refs/heads/main"
    object_format: str = "sha1"

    @classmethod
    def made(cls, name: str, *, count: int, seed: int = 0) -> Self:
        """Return `count` branches whose objects depend on name and seed."""
        names = ["refs/heads/main", *(f"refs/heads/topic/branch-{number:05}" for number in range(count - 1))]
        return cls({ref: object_id(f"{seed}/{name}/{ref}") for ref in names})

    def push(self, what: str = "pushed", ref: str = "refs/heads/main") -> None:
        """Move a branch."""
        self.refs[ref] = object_id(
            f"{what}/{self.refs.get(ref)}", digits=64 if self.object_format == "sha256" else 40
        )

    def listed(self, prefixes: tuple[str, ...]) -> bytes:
        """Return the answer to `ls-refs`."""
        head = self.refs.get(self.head)
        lines = [packet(f"{head} HEAD symref-target:{self.head}\n".encode())] if head else []
        chosen = sorted(name for name in self.refs if name.startswith(prefixes or ""))
        return b"".join(
            [*lines, *(packet(f"{self.refs[name]} {name}\n".encode()) for name in chosen), b"0000"]
        )

    def advertised(self) -> bytes:
        """Return what a server says that knows protocol 0 only."""
        words = (
            f"\0multi_ack symref=HEAD:{self.head} object-format={self.object_format} agent=lab session-id=%d"
        )
        lines = [f"{oid} {name}" for name, oid in sorted(self.refs.items())]
        if self.head in self.refs:
            lines.insert(0, f"{self.refs[self.head]} HEAD")
        lines = lines or ["0" * 40 + " capabilities^{}"]
        lines[0] += words % id(object())
        service = packet(b"# service=git-upload-pack\n") + b"0000"
        return service + b"".join(packet(f"{line}\n".encode()) for line in lines) + b"0000"


def object_id(text: str, *, digits: int = 40) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Request], bytes | None]


@dataclass
class MemoryUpstream:
    """The server. `special`: for a repository, a function that returns the raw bytes of an answer, None to hang."""

    certificate: Path | None = None
    repositories: dict[str, Refs] = field(default_factory=dict)
    special: dict[str, Answer] = field(default_factory=dict)
    password: str = ""
    speaks: int = 2
    encoding: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    resumed: int = 0
    keeps_log: bool = True

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._transports: set[Any] = set()
        context = None
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
        making = self._loop.create_server(lambda: _Served(self), "127.0.0.1", 0, ssl=context, backlog=1024)
        self._server = self._loop.run_until_complete(making)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _stop(self) -> None:
        self._server.close()
        for transport in list(self._transports):
            transport.abort()
        self._loop.call_later(0.02, self._loop.stop)

    def drop_connections(self) -> None:
        """Close every connection from this side, as servers do with idle ones."""
        self._loop.call_soon_threadsafe(lambda: [transport.abort() for transport in list(self._transports)])

    def url_of(self, name: str) -> str:
        """Return the URL of a repository."""
        return f"{self.url}/{name}.git"

    def asked(self, kind: str = "") -> int:
        """Return how many requests came in, of one kind: POST or GET."""
        return sum(request.method.startswith(kind) for request in self.requests)

    def answer(self, request: Request) -> bytes | None:
        """Return the bytes of an answer; None: never."""
        name, _, service = request.path.strip("/").partition(".git")
        if name in self.special:
            return self.special[name](request)
        if self.password and request.headers.get("authorization") != self.password:
            return http(b"", status="401 Unauthorized", extra='WWW-Authenticate: Basic realm="lab"')
        refs = self.repositories.get(name)
        if refs is None:
            return http(b"not here", status="404 Not Found")
        if service.startswith("/info/refs"):
            said = self._capabilities(refs) if self.speaks == 2 else refs.advertised()
            return self._encoded(said, "advertisement")
        if self.speaks != 2:
            return http(b"", status="500 Internal Server Error")
        return self._encoded(_ls_refs(refs, request.body), "result")

    def _capabilities(self, refs: Refs) -> bytes:
        lines = (
            "version 2",
            "agent=lab",
            "ls-refs=unborn",
            "fetch=shallow",
            f"object-format={refs.object_format}",
        )
        return b"".join(packet(f"{line}\n".encode()) for line in lines) + b"0000"

    def _encoded(self, body: bytes, kind: str) -> bytes:
        return http(body, kind=f"application/x-git-upload-pack-{kind}", encoding=self.encoding)


def _ls_refs(refs: Refs, body: bytes) -> bytes:
    lines = [line[4:] if line[:4] == b"0001" else line for line in body.split(b"\n")]
    asked = next((line[18:].decode() for line in lines if b"object-format=" in line), "sha1")
    if asked != refs.object_format:
        return packet(f"ERR mismatched object format: server {refs.object_format}; client {asked}".encode())
    wanted = tuple(line.partition(PREFIX)[2].decode() for line in lines if PREFIX in line)
    return refs.listed(wanted)


def http(
    body: bytes, *, status: str = "200 OK", kind: str = "text/plain", extra: str = "", encoding: str = ""
) -> bytes:
    """Return an answer as bytes; encoding: "", "gzip", "chunked" or "close"."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *([extra] if extra else [])]
    if encoding == "gzip":
        body = gzip.compress(body)
        lines.append("Content-Encoding: gzip")
    if encoding == "chunked":
        lines.append("Transfer-Encoding: chunked")
        pieces = [body[at : at + 700] for at in range(0, len(body), 700)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    elif encoding == "close":
        lines.append("Connection: close")
    else:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Served(asyncio.Protocol):
    def __init__(self, upstream: MemoryUpstream) -> None:
        self._upstream = upstream
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._upstream.connections += 1
        self._upstream._transports.add(transport)
        spoken = transport.get_extra_info("ssl_object")
        self._upstream.resumed += bool(spoken and spoken.session_reused)

    def connection_lost(self, error: Exception | None) -> None:
        self._upstream._transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, path, _ = first.split(" ")
        self._reply(Request(method, path, headers, rest[:length]))

    def _reply(self, request: Request) -> None:
        if self._upstream.keeps_log:
            self._upstream.requests.append(request)
        answer = self._upstream.answer(request)
        if answer is not None:
            self._transport.write(answer)
            if b"\r\nConnection: close\r\n" in answer[:1000]:
                self._transport.close()


def main() -> None:
    """Serve repositories until standard input ends."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repositories", type=int, default=1)
    parser.add_argument("--refs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    made = {
        str(number): Refs.made(str(number), count=options.refs, seed=options.seed)
        for number in range(options.repositories)
    }
    with MemoryUpstream(repositories=made, keeps_log=False) as upstream:
        print(json.dumps({"url": upstream.url}), flush=True)
        for line in sys.stdin:
            upstream.repositories[line.strip()].push()


if __name__ == "__main__":
    main()
