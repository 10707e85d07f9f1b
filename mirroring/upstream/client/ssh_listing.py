"""Listing refs in the words of git-upload-pack, where it is run by a command and answers as it likes.

A server that lets the protocol be chosen speaks version 2; one that does not sends the older advertisement.
"""

from dataclasses import dataclass

from mirroring.upstream.client import protocol
from mirroring.upstream.client.dialing import Unsupported
from mirroring.upstream.client.mux import Command
from mirroring.upstream.client.protocol import FLUSH, LONGEST_PACKET, BadAnswer, Listing

VERSION_2 = "GIT_PROTOCOL=version=2"
KEPT_BYTES = 8 * 1024 * 1024
"""Of one listing; git asks for a longer one."""

HELD_BYTES = 64 * 1024 * 1024
"""Of all listings that come in at the same time."""


@dataclass
class Room:
    """What all listings under way may hold in memory."""

    held: int = 0

    def take(self, more: int, *, already: int) -> None:
        """Make room for more of one listing. Raise Unsupported where there is none."""
        if already + more > KEPT_BYTES or self.held + more > HELD_BYTES:
            raise Unsupported("the listing is too long to be kept: git can ask")
        self.held += more


def command_for(path: str) -> str:
    """Return the command that git has a server run for a repository, whose path the server's shell will read."""
    quoted = path.replace("'", "'\\''").replace("!", "'\\!'")
    return f"{protocol.SERVICE} '{quoted}'"


async def list_refs(command: Command, refspecs: tuple[str, ...], room: Room) -> tuple[Listing, int]:
    """Return what the server lists, and how long its answer was. Raise OSError, BadAnswer or Unsupported."""
    reader = _Reader(command, room)
    try:
        said = protocol.read_handshake(await reader.section())
        if said.listing is not None:
            await command.say(FLUSH)  # Nothing is wanted.
            return said.listing, reader.size
        prefixes, object_format = protocol.prefixes(refspecs), said.object_format
        await command.say(protocol.ls_refs(prefixes, object_format=object_format) + FLUSH)
        answer = await reader.section()
        return protocol.read_ls_refs(answer, object_format=object_format), reader.size
    finally:
        room.held -= reader.size


class _Reader:
    """Reads up to the end of what a server has to say, however it comes in pieces."""

    def __init__(self, command: Command, room: Room) -> None:
        self._command, self._room = command, room
        self._buffer = bytearray()
        self.size = 0

    async def section(self) -> bytes:
        """Return packets up to the next flush, with it."""
        at = 0
        while True:
            while len(self._buffer) >= at + 4:
                length = _length(self._buffer[at : at + 4])
                if not length:
                    found = bytes(self._buffer[: at + 4])
                    del self._buffer[: at + 4]
                    return found
                at += length
            piece = await self._command.hear()
            if not piece:
                raise BadAnswer("the server ended before its answer did")
            self._room.take(len(piece), already=self.size)
            self.size += len(piece)
            self._buffer += piece


def _length(digits: bytearray) -> int:
    try:
        length = int(digits, 16)
    except ValueError:
        raise BadAnswer("the answer does not consist of git's packets") from None
    if length and not 4 <= length <= LONGEST_PACKET:
        raise BadAnswer("the answer has a packet of impossible length")
    return length
