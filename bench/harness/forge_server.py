"""The forge as a process: HTTP/1.1 on as many loopback addresses as wanted.

`python -m bench.harness.forge_server [--hosts N] [--refs N] [--version N] [--certificate PEM] [--close]`. Prints one
line {"port": ..., "addresses": [...]}. A line of numbers on standard input gives these repositories a new version and
is answered by {"changed": ...}; a line `asked` by {"lists": ..., "fetches": ...}, a line `newer` by the version of each
repository that is no longer at its first. Ends with standard input.
"""

import argparse
import asyncio
import gzip
import json
import re
import ssl
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench.harness import forge

_LISTS = re.compile(rb"POST [^ ]*/(\d+)\.git/git-upload-pack HTTP/1\.1\r\n")
_HAVE = re.compile(rb"have [0-9a-f]{40}")
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")


@dataclass
class Forge:
    """The state: which repositories are no longer at the first version, and what was asked."""

    refs: int
    version: int
    closes: bool
    newer: dict[int, int] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def version_of(self, number: int) -> int:
        """Return the version that a repository is at."""
        return self.newer.get(number, self.version)

    def push(self, number: int) -> None:
        """Give a repository a new version."""
        self.newer[number] = self.version_of(number) + 1

    def answer(self, path: str, body: bytes) -> bytes:
        """Return the answer to a request: a POST has a body."""
        number = int(path.rpartition(".git")[0].rpartition("/")[2])
        version = self.version_of(number)
        if not body:
            self.asked["handshakes"] += 1
            return self._http(forge.CAPABILITIES, b"advertisement")
        if b"command=ls-refs" in body:
            return self.listed(number)
        self.asked["fetches"] += 1
        has = b"".join(_HAVE.findall(body))
        return self._http(forge.packed(number, version, has=has, done=b"0009done\n" in body), b"result")

    def listed(self, number: int) -> bytes:
        """Return the answer to a request for the refs of a repository."""
        self.asked["lists"] += 1
        return self._http(forge.listed(number, self.version_of(number), refs=self.refs), b"result")

    def _http(self, body: bytes, kind: bytes) -> bytes:
        close = b"Connection: close\r\n" if self.closes else b""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-%b-%b\r\nContent-Length: %d\r\n%b\r\n"
        return head % (forge.SERVICE, kind, len(body), close) + body


class Served(asyncio.Protocol):
    """One connection."""

    def __init__(self, forge: Forge) -> None:
        self._forge = forge
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        """Remember where answers go."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        if not self._buffer and (number := _listing(data)) is not None:
            self._transport.write(self._forge.listed(number))
            if self._forge.closes:
                self._transport.close()
            return
        self._buffer += data
        while (request := _request(self._buffer)) is not None:
            path, body, used = request
            self._buffer = self._buffer[used:]
            self._transport.write(self._forge.answer(path, body))
            if self._forge.closes:
                self._transport.close()


def _listing(data: bytes) -> int | None:
    """Return whose refs are asked for, if that is all there is; a short way, for it shares the cores that it feeds."""
    found, end = _LISTS.match(data), data.find(b"\r\n\r\n")
    length = _LENGTH.search(data, 0, end + 2) if found and end > 0 else None
    whole = length and len(data) == end + 4 + int(length[1]) and b"command=ls-refs" in data
    return int(found[1]) if found and whole else None


def _request(data: bytes) -> tuple[str, bytes, int] | None:
    """Return path, body and length of the first request, once it is there as a whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = data[:end].decode("latin-1").lower().split("\r\n")
    headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    start = end + 4
    if headers.get("transfer-encoding") == "chunked":  # What git does with more than a megabyte of wants.
        if not data.endswith(b"\r\n0\r\n\r\n"):
            return None
        body, used = _unchunked(data[start:]), len(data)
    else:
        used = start + int(headers.get("content-length", 0))
        body = data[start:used]
    if len(data) < used:
        return None
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return first.split(" ")[1], body, used


def _unchunked(data: bytes) -> bytes:
    parts = []
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        parts.append(data[:length])
        data = data[length + 2 :]
    return b"".join(parts)


def _obey(forge: Forge, line: str) -> dict[str, object]:
    if line.strip() == "asked":
        return dict(forge.asked)
    if line.strip() == "newer":
        return {str(number): version for number, version in forge.newer.items()}
    numbers = [int(word) for word in line.split()]
    for number in numbers:
        forge.push(number)
    return {"changed": len(numbers)}


async def serve(options: argparse.Namespace) -> None:
    """Serve until standard input ends."""
    state = Forge(options.refs, options.version, options.close)
    context = None
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate)
    loop = asyncio.get_running_loop()
    addresses = [f"127.0.{number // 250}.{number % 250 + 1}" for number in range(options.hosts)]
    port = 0
    for address in addresses:
        server = await loop.create_server(lambda: Served(state), address, port, ssl=context, backlog=1024)
        port = server.sockets[0].getsockname()[1]
    print(json.dumps({"port": port, "addresses": addresses}), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(_obey(state, line)), flush=True)


def main() -> None:
    """Parse the options and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--refs", type=int, default=10)
    parser.add_argument("--version", type=int, default=1)
    parser.add_argument("--certificate")
    parser.add_argument("--close", action="store_true")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
