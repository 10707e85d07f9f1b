"""A forge that answers from memory: any number of repositories, each with refs and a commit of its own, none on disk.

What repository `number` holds at `version` follows from the two by arithmetic, so that a million of them need no memory
and nobody can answer for another. Version 0 has ids that stand for no object: it can be listed, not fetched.
"""

import hashlib
import struct
import zlib
from functools import lru_cache

SERVICE = b"git-upload-pack"
_BLANK = b"@" * 40
_KINDS = {b"commit": 1, b"tree": 2, b"blob": 3}


def packet(line: bytes) -> bytes:
    """Return a packet line."""
    return b"%04x%b" % (len(line) + 4, line)


CAPABILITIES = (
    b"".join(
        packet(line + b"\n")
        for line in (b"version 2", b"agent=bench", b"ls-refs=unborn", b"fetch=shallow", b"object-format=sha1")
    )
    + b"0000"
)


def head_of(number: int, version: int) -> bytes:
    """Return what every ref of a repository points at."""
    if version == 0:
        return b"%020x%020x" % (number + 1, 0)
    return _objects(number, version)[0]


@lru_cache(maxsize=4)
def _template(refs: int) -> bytes:
    names = [b"refs/heads/main", *(b"refs/heads/topic/branch-%05d" % number for number in range(refs - 1))]
    head = packet(_BLANK + b" HEAD symref-target:refs/heads/main\n")
    return b"".join([head, *(packet(b"%b %b\n" % (_BLANK, name)) for name in names), b"0000"])


def listed(number: int, version: int, *, refs: int) -> bytes:
    """Return the answer to `ls-refs`."""
    return _template(refs).replace(_BLANK, head_of(number, version))


def packed(number: int, version: int, *, has: bytes, done: bool) -> bytes:
    """Return the answer to `fetch`: the commits, trees and files that are newer than what the client `has`."""
    known = (at for at in range(version, 0, -1) if head_of(number, at) in has)
    wanted = range(next(known, 0) + 1, version + 1)
    parts = [] if done else [packet(b"acknowledgments\n"), packet(b"ready\n"), b"0001"]
    parts.append(packet(b"packfile\n"))
    pack = _pack([found for at in wanted for found in _objects(number, at)[1]])
    parts += [packet(b"\x01" + pack[at : at + 60_000]) for at in range(0, len(pack), 60_000)]
    return b"".join([*parts, b"0000"])


def _objects(number: int, version: int) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    blob = b"repository %d, version %d\n" % (number, version)
    tree = b"100644 file\0" + hashlib.sha1(b"blob %d\0%b" % (len(blob), blob)).digest()
    who = b"Bench <bench@lab.example> %d +0000" % (1_600_000_000 + version)
    parent = b"parent %b\n" % head_of(number, version - 1) if version > 1 else b""
    commit = b"tree %b\n%bauthor %b\ncommitter %b\n\nVersion %d\n" % (
        _id(b"tree", tree),
        parent,
        who,
        who,
        version,
    )
    return _id(b"commit", commit), [(b"commit", commit), (b"tree", tree), (b"blob", blob)]


def _id(kind: bytes, content: bytes) -> bytes:
    return hashlib.sha1(b"%b %d\0%b" % (kind, len(content), content)).hexdigest().encode()


def _pack(objects: list[tuple[bytes, bytes]]) -> bytes:
    parts = [struct.pack(">4sII", b"PACK", 2, len(objects))]
    for kind, content in objects:
        parts += [_entry_head(_KINDS[kind], len(content)), zlib.compress(content)]
    body = b"".join(parts)
    return body + hashlib.sha1(body).digest()


def _entry_head(kind: int, size: int) -> bytes:
    first, size = (kind << 4) | (size & 15), size >> 4
    sizes = [first]
    while size:
        sizes[-1] |= 0x80
        sizes.append(size & 0x7F)
        size >>= 7
    return bytes(sizes)
