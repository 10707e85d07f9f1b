"""Asking an upstream what its refs are, without a process: for the check that nothing is new, and for the import.

A check compares digests and reads no ref. The digest covers the question too, so an answer can only be taken for
"unchanged" if the same question had, byte for byte, the same answer when the mirror was last brought up to date.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from mirroring.upstream.client import protocol
from mirroring.upstream.client.connections import Pool
from mirroring.upstream.client.dialing import Dial, Origin, Unsupported, basic, proxy_authorization
from mirroring.upstream.client.protocol import BadAnswer, Listing, ObjectFormat

USER_AGENT = "git/2.45 (mirroring)"
"""Some servers answer only clients that call themselves git."""

KEPT_BYTES = 32 * 1024 * 1024
"""Of a listing that is read, not only hashed; a worker may hold as many as it has imports. Git reads a longer one."""


class Way(StrEnum):
    """How a mirror's refs were listed when it was last imported, and so how it is checked."""

    V2_SHA1 = "v2 sha1"
    V2_SHA256 = "v2 sha256"
    ADVERTISED = "advertised"
    SSH = "ssh"
    GIT = "git"

    @property
    def object_format(self) -> ObjectFormat:
        """Return the format to ask for."""
        return ObjectFormat.SHA256 if self is Way.V2_SHA256 else ObjectFormat.SHA1


@dataclass(frozen=True)
class Target:
    """One repository and how it is reached. Equal targets may share one answer."""

    origin: Origin
    path: str
    authorization: bytes = field(default=b"", repr=False)

    def request(self, *, ending: str, body: bytes = b"", accept: str = "") -> bytes:
        """Return a request for what lies below the repository; with a body it is a POST."""
        http_proxy = self.origin.proxy if self.origin.scheme == "http" else None
        place = f"{self.origin.scheme}://{self.origin.authority}" if http_proxy else ""
        lines = [
            f"{'POST' if body else 'GET'} {place}{self.path}{ending} HTTP/1.1",
            f"Host: {self.origin.authority}",
            f"User-Agent: {USER_AGENT}",
            "Accept-Encoding: gzip",
            "Git-Protocol: version=2",
            f"Accept: {accept or '*/*'}",
        ]
        if body:
            lines += [
                f"Content-Type: application/x-{protocol.SERVICE}-request",
                f"Content-Length: {len(body)}",
            ]
        head = "\r\n".join(lines).encode()
        secret = b"Authorization: %b\r\n" % self.authorization if self.authorization else b""
        return b"%b\r\n%b%b\r\n%b" % (head, secret, proxy_authorization(http_proxy), body)


def authorization(username: str, password: str) -> bytes:
    """Return the value of the header that carries a user name and password."""
    return basic(username, password)


@dataclass(frozen=True)
class Question:
    """What is asked: which repository, the refs that begin with which prefixes, and in which way."""

    target: Target
    refspecs: tuple[str, ...]
    way: Way


@dataclass(frozen=True)
class Heard:
    """What a check learns: the digest of question and answer, and how long the answer was."""

    digest: bytes
    size: int


@dataclass(frozen=True)
class Found:
    """What an import learns: the refs, how they were listed, and the digest of question and answer."""

    listing: Listing
    way: Way
    digest: bytes


class Refused(Exception):
    """The server answered, with another status than 200."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the server answers with status {status}")
        self.status = status


class _Hashed:
    """A sink that keeps nothing but a hash."""

    def __init__(self, question: bytes) -> None:
        self.size = 0
        self.hash = hashlib.sha256(b"%d:%b" % (len(question), question))

    def __call__(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > protocol.MAX_BYTES:
            raise BadAnswer("the answer is too long")
        self.hash.update(data)


class _Kept(_Hashed):
    """A sink that keeps the answer too."""

    def __init__(self, question: bytes) -> None:
        super().__init__(question)
        self.parts: list[bytes] = []

    def __call__(self, data: bytes) -> None:
        super().__call__(data)
        if self.size > KEPT_BYTES:
            raise BadAnswer("the answer is too long to be kept")
        self.parts.append(data)

    @property
    def body(self) -> bytes:
        """Return the whole answer."""
        return b"".join(self.parts)


_S = TypeVar("_S", bound=_Hashed)


async def check(pool: Pool, question: Question, *, dial: Dial) -> Heard:
    """Return the digest of what the upstream lists now. Raise OSError, BadAnswer, Refused or Unsupported."""
    match question.way:
        case Way.GIT | Way.SSH:
            raise Unsupported("only git can ask this upstream, or a command over SSH")
        case Way.ADVERTISED:
            said, size = await _handshake(pool, question.target, dial=dial)
            if said.listing is None:
                raise BadAnswer("the server has learned protocol 2")
            return Heard(digest_of(said.listing, question.refspecs), size)
        case way:
            body = protocol.ls_refs(protocol.prefixes(question.refspecs), object_format=way.object_format)
            sink = await _post(pool, question.target, body, sink=_Hashed, dial=dial)
            return Heard(sink.hash.digest(), sink.size)


async def look(pool: Pool, target: Target, refspecs: tuple[str, ...], *, dial: Dial) -> Found:
    """Return what the upstream lists now, of the refs that the refspecs may select. Raise as `check` does."""
    said, _ = await _handshake(pool, target, dial=dial)
    if said.listing is not None:
        return Found(said.listing, Way.ADVERTISED, digest_of(said.listing, refspecs))
    way = Way.V2_SHA256 if said.object_format is ObjectFormat.SHA256 else Way.V2_SHA1
    body = protocol.ls_refs(protocol.prefixes(refspecs), object_format=way.object_format)
    sink = await _post(pool, target, body, sink=_Kept, dial=dial)
    listing = protocol.read_ls_refs(sink.body, object_format=way.object_format)
    return Found(listing, way, sink.hash.digest())


def digest_of(listing: Listing, refspecs: tuple[str, ...]) -> bytes:
    """Return a digest of a listing that was read: of the refs that the refspecs may select, and of HEAD."""
    wanted = tuple(prefix.encode() for prefix in protocol.prefixes(refspecs))
    hashed = hashlib.sha256(repr((wanted, listing.head, str(listing.object_format))).encode())
    for name, oid in sorted(listing.refs.items()):
        if name.startswith(wanted):
            hashed.update(b"%b %b\n" % (oid, name))
    return hashed.digest()


async def _post(pool: Pool, target: Target, body: bytes, *, sink: Callable[[bytes], _S], dial: Dial) -> _S:
    accept = f"application/x-{protocol.SERVICE}-result"
    request = target.request(ending=f"/{protocol.SERVICE}", body=body, accept=accept)
    return await _exchange(pool, target, request, accept, make=lambda: sink(body), dial=dial)


async def _handshake(pool: Pool, target: Target, *, dial: Dial) -> tuple[protocol.Handshake, int]:
    accept = f"application/x-{protocol.SERVICE}-advertisement"
    request = target.request(ending=f"/info/refs?service={protocol.SERVICE}")
    sink = await _exchange(pool, target, request, accept, make=lambda: _Kept(b""), dial=dial)
    return protocol.read_handshake(sink.body), sink.size


async def _exchange(
    pool: Pool, target: Target, request: bytes, accept: str, *, make: Callable[[], _S], dial: Dial
) -> _S:
    """Return the filled sink of a good answer. Raise Refused for any other: a page or a redirect is no listing."""
    made: list[_S] = []

    def sink() -> _S:
        made.append(make())
        return made[-1]

    head = await pool.exchange(target.origin, request, sink, dial=dial)
    if head.status != 200:
        raise Refused(head.status)
    if head.content_type != accept:
        raise BadAnswer("the answer is not that of a git server")
    return made[-1]


def heard_of(question: bytes, answer: bytes) -> Heard:
    """Return what a check learns from an answer of protocol 2."""
    sink = _Hashed(question)
    sink(answer)
    return Heard(sink.hash.digest(), sink.size)


def sealed(answer: bytes, *, inputs: Sequence[object]) -> bytes:
    """Return the digest that is kept of a mirror: of the answer and of all that decides what is fetched."""
    return hashlib.sha256(repr(tuple(inputs)).encode() + answer).digest()
