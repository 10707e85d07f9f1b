"""Commands over an SSH connection that another process keeps, asked for through its control socket: no process each.

Source: PROTOCOL.mux of OpenSSH, version 4. The file descriptors of the command are handed over to the ssh that holds
the connection; it is at an end as soon as the control connection is closed.
"""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from mirroring.upstream.client.dialing import Unsupported
from mirroring.upstream.client.http1 import Lost

VERSION = 4
_HELLO, _NEW_SESSION = 0x00000001, 0x10000002
_DENIED, _FAILED, _OPENED = 0x80000002, 0x80000003, 0x80000006
_NO_ESCAPE = 0xFFFFFFFF
_LONGEST = 4096
_PIECE = 64 * 1024


class Command:
    """A command that runs on the other side: what it is told, and what it says."""

    def __init__(self, data: socket.socket) -> None:
        self._data = data
        self._loop = asyncio.get_running_loop()

    async def say(self, text: bytes) -> None:
        """Write to its standard input."""
        await self._loop.sock_sendall(self._data, text)

    async def hear(self) -> bytes:
        """Return what came next of its standard output; empty at its end."""
        return await self._loop.sock_recv(self._data, _PIECE)


@asynccontextmanager
async def running(control: Path, command: str, environment: str) -> AsyncIterator[Command]:
    """Run a command over the connection behind a control socket. `environment`: NAME=VALUE, which servers may refuse.

    Raise Lost where the connection is gone, Unsupported where the server opens no further session on it.
    """
    with ExitStack() as stack:
        asks = stack.enter_context(socket.socket(socket.AF_UNIX))
        ours, theirs = (stack.enter_context(each) for each in socket.socketpair())
        asks.settimeout(0)
        ours.settimeout(0)
        try:
            await asyncio.get_running_loop().sock_connect(asks, str(control))
            await _open(asks, theirs, command, environment)
        except Lost:
            raise
        except OSError as error:
            raise Lost(f"the shared connection is gone: {error.strerror}") from None
        theirs.close()  # Else its end would never be seen.
        yield Command(ours)


async def _open(asks: socket.socket, theirs: socket.socket, command: str, environment: str) -> None:
    """Hand over what the command reads and writes, and wait until it is started."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(asks, _message(_HELLO, VERSION))
    kind, version, *_ = struct.unpack_from(">II", await _answer(asks))
    if (kind, version) != (_HELLO, VERSION):
        raise Unsupported("this ssh shares its connections by another protocol")
    plain = (0, 0, 0, 0, _NO_ESCAPE, b"")  # No terminal, no forwarding, no subsystem.
    wanted = _message(_NEW_SESSION, 0, b"", *plain, command.encode(), environment.encode())
    await loop.sock_sendall(asks, wanted)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for each in (theirs.fileno(), theirs.fileno(), nowhere):
            socket.send_fds(asks, [b"\0"], [each])
    finally:
        os.close(nowhere)
    [kind] = struct.unpack_from(">I", await _answer(asks))
    if kind in {_DENIED, _FAILED}:
        raise Unsupported("the server opens no further session on one connection")
    if kind != _OPENED:
        raise Unsupported("this ssh answers in a way that is not known here")


def _message(*parts: int | bytes) -> bytes:
    """Return numbers and texts as one message."""
    body = b"".join(
        struct.pack(">I", part) if isinstance(part, int) else struct.pack(">I", len(part)) + part
        for part in parts
    )
    return struct.pack(">I", len(body)) + body


async def _answer(asks: socket.socket) -> bytes:
    [length] = struct.unpack(">I", await _exactly(asks, 4))
    if not 8 <= length <= _LONGEST:
        raise Unsupported("this ssh answers in a way that is not known here")
    return await _exactly(asks, length)


async def _exactly(asks: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        piece = await asyncio.get_running_loop().sock_recv(asks, length - len(found))
        if not piece:
            raise Lost("the shared connection is gone")
        found += piece
    return found
