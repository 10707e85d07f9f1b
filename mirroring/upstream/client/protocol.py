"""What git servers and clients say when refs are listed: packets, protocol v2's `ls-refs`, and the older advertisement.

Source of the rules: gitprotocol-common(5), gitprotocol-v2(5), gitprotocol-pack(5), git-check-ref-format(1).
Everything here is bytes in and values out; nothing opens a connection.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from mirroring.upstream.policy.names import are_names

SERVICE = "git-upload-pack"
MAX_BYTES = 256 * 1024 * 1024
MAX_REFS = 2_000_000
LONGEST_PACKET = 65_520
LONGEST_NAME = 4_096
FLUSH = b"0000"

_HEX = re.compile(rb"[0-9a-f]*\Z")
_CAPABILITIES = b"capabilities^{}"


class BadAnswer(Exception):
    """The server did not answer as git servers do; the text says what was wrong."""


class ObjectFormat(StrEnum):
    """How a repository names its objects."""

    SHA1 = "sha1"
    SHA256 = "sha256"

    @property
    def digits(self) -> int:
        """Return the length of an object's name."""
        return 64 if self is ObjectFormat.SHA256 else 40


@dataclass(frozen=True)
class Listing:
    """The refs of an upstream: name -> object id, and the branch that HEAD names if it names one."""

    refs: dict[bytes, bytes]
    head: bytes | None = None
    object_format: ObjectFormat = ObjectFormat.SHA1


@dataclass(frozen=True)
class Handshake:
    """What a server said first: a listing, if it speaks an older protocol; what it can do, if it speaks v2."""

    listing: Listing | None = None
    capabilities: dict[str, str] = field(default_factory=dict)

    @property
    def object_format(self) -> ObjectFormat:
        """Return the format that a server of v2 names; one that names none has SHA-1."""
        try:
            return ObjectFormat(self.capabilities.get("object-format", "sha1"))
        except ValueError:
            raise BadAnswer("the repository names its objects in a way that is not known here") from None


def packet(line: bytes) -> bytes:
    """Return a line as a packet."""
    return b"%04x%b" % (len(line) + 4, line)


@lru_cache(maxsize=1024)
def ls_refs(prefixes: tuple[str, ...], *, object_format: ObjectFormat) -> bytes:
    """Return the request for all refs that begin with one of the prefixes, and HEAD."""
    # Without a word on the format a server takes SHA-1, and old ones would refuse the word.
    named = (
        [] if object_format is ObjectFormat.SHA1 else [packet(f"object-format={object_format}\n".encode())]
    )
    wanted = [packet(f"ref-prefix {prefix}\n".encode()) for prefix in ("HEAD", *prefixes)]
    return b"".join([packet(b"command=ls-refs\n"), *named, b"0001", packet(b"symrefs\n"), *wanted, FLUSH])


@lru_cache(maxsize=1024)
def prefixes(refspecs: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the names of all refs that the refspecs select begin with."""
    sources = (refspec.removeprefix("+").partition(":")[0] for refspec in refspecs)
    return tuple(sorted({source.partition("*")[0] for source in sources}))


def packets(body: bytes) -> Iterator[bytes | None]:
    """Yield the lines of the packets without their line feed, None for a flush. Raise BadAnswer where it breaks off."""
    at, end = 0, len(body)
    while at < end:
        try:
            length = int(body[at : at + 4], 16)
        except ValueError:
            raise BadAnswer("the answer does not consist of git's packets") from None
        if length == 0:
            at += 4
            yield None
            continue
        if not 4 <= length <= LONGEST_PACKET or at + length > end:
            raise BadAnswer("the answer breaks off, or has a packet of impossible length")
        line = body[at + 4 : at + length]
        at += length
        if line.startswith(b"ERR "):
            raise BadAnswer(f"the server refuses: {line[4:204].decode(errors='replace').strip()}")
        yield line.removesuffix(b"\n")


def read_ls_refs(body: bytes, *, object_format: ObjectFormat = ObjectFormat.SHA1) -> Listing:
    """Return what an answer to `ls-refs` lists. Raise BadAnswer for a name that git would not accept, too."""
    if not body.endswith(FLUSH):
        raise BadAnswer("the answer breaks off")
    pairs: list[tuple[bytes, bytes]] = []
    head = None
    lines = packets(body)
    for line in lines:
        if line is None:
            break
        oid, _, rest = line.partition(b" ")
        name, _, attributes = rest.partition(b" ")
        if name == b"HEAD":
            head = _target(attributes)
        elif oid != b"unborn":
            pairs.append((name, oid))
    if next(lines, b"") != b"":
        raise BadAnswer("the answer goes on after its end")
    return Listing(refs=_believed(pairs, object_format), head=head, object_format=object_format)


def read_handshake(body: bytes) -> Handshake:
    """Return what a server said to `GET info/refs`: what it can do, or already its refs."""
    lines = packets(body)
    first = next(lines, None)
    if first is not None and first.startswith(b"# service="):
        if first != f"# service={SERVICE}".encode() or next(lines, b"") is not None:
            raise BadAnswer("the answer is of another service")
        first = next(lines, None)
    if first == b"version 2":
        return Handshake(capabilities=_capabilities(lines))
    if first == b"version 1":
        first = next(lines, None)
    if first is None:
        raise BadAnswer("the server lists nothing, and does not say that it is empty")
    return Handshake(listing=_advertised(first, lines))


def _capabilities(lines: Iterator[bytes | None]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        if line is None:
            break
        key, _, value = line.decode(errors="replace").partition("=")
        found[key] = value
    if "ls-refs" not in found:
        raise BadAnswer("the server speaks protocol 2 but lists no refs")
    return found


def _advertised(first: bytes, lines: Iterator[bytes | None]) -> Listing:
    """Read the older advertisement; its first line carries what the server can do."""
    line, zero, words = first.partition(b"\0")
    if not zero:
        raise BadAnswer("the advertisement does not say what the server can do")
    said = dict(word.partition(b"=")[::2] for word in words.split() if not word.startswith(b"symref="))
    object_format = Handshake(
        capabilities={"object-format": said.get(b"object-format", b"sha1").decode(errors="replace")}
    ).object_format
    links = [word[7:].partition(b":")[::2] for word in words.split() if word.startswith(b"symref=")]
    head = dict(links).get(b"HEAD")
    pairs: list[tuple[bytes, bytes]] = []
    last: bytes | None = line
    while last is not None:
        oid, _, name = last.partition(b" ")
        if name not in {b"HEAD", _CAPABILITIES} and not name.endswith(b"^{}") and oid != b"shallow":
            pairs.append((name, oid))
        last = next(lines, b"")
        if last == b"":
            raise BadAnswer("the answer breaks off")
    refs = _believed(pairs, object_format)
    return Listing(refs=refs, head=head and _checked(head), object_format=object_format)


def _believed(pairs: list[tuple[bytes, bytes]], object_format: ObjectFormat) -> dict[bytes, bytes]:
    """Return the refs of pairs of name and object id. Raise BadAnswer for what git would not accept."""
    refs = dict(pairs)
    if len(pairs) > MAX_REFS:
        raise BadAnswer(f"the server lists more than {MAX_REFS} refs")
    if set(map(len, refs.values())) - {object_format.digits} or not _HEX.match(b"".join(refs.values())):
        raise BadAnswer("the server lists something that is no object id")
    if len(refs) != len(pairs):
        raise BadAnswer("the server lists a ref twice")
    _check_names(refs)
    return refs


def _check_names(names: Collection[bytes]) -> None:
    if not are_names(names) or any(len(name) > LONGEST_NAME for name in names):
        raise BadAnswer("the server lists a ref whose name git does not accept")


def _checked(name: bytes) -> bytes:
    _check_names([name])
    return name


def _target(attributes: bytes) -> bytes | None:
    for attribute in attributes.split(b" "):
        if attribute.startswith(b"symref-target:"):
            return _checked(attribute.removeprefix(b"symref-target:"))
    return None
