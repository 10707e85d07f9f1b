"""Asking an upstream what its refs are, without a process: for the check that nothing is new, and for the import.

A check compares digests and reads no ref. The digest covers the question too, so an answer can only be taken for
"unchanged" if the same question had, byte for byte, the same answer when the mirror was last brought up to date.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

from mirroring.upstream.client import protocol
from mirroring.upstream.client.connections import Pool
from mirroring.upstream.client.dialing import Dial, Unsupported
from mirroring.upstream.client.http1 import Head
from mirroring.upstream.client.protocol import BadAnswer, Listing, ObjectFormat
from mirroring.upstream.client.target import Target

RESULT = f"application/x-{protocol.SERVICE}-result"
KEPT_BYTES = 32 * 1024 * 1024
"""Of a listing that is read, not only hashed; a worker may hold as many as it has imports. Git reads a longer one."""

SMALL_BYTES = 16 * 1024
"""Of an answer that a check keeps until it is judged: some 250 refs. Thousands may be under way."""


class Way(StrEnum):
    """How a mirror's refs were listed when it was last imported, and so how it is checked."""

    V2_SHA1 = "v2 sha1"
    V2_SHA256 = "v2 sha256"
    ADVERTISED = "advertised"
    SSH = "ssh"
    GIT = "git"

    @property
    def is_v2(self) -> bool:
        """Say whether it is one request of protocol 2 over HTTP."""
        return self is Way.V2_SHA1 or self is Way.V2_SHA256  # A set would hash them, which takes longer.

    @property
    def object_format(self) -> ObjectFormat:
        """Return the format to ask for."""
        return ObjectFormat.SHA256 if self is Way.V2_SHA256 else ObjectFormat.SHA1


@dataclass(frozen=True)
class Question:
    """What is asked: which repository, the refs that begin with which prefixes, and in which way."""

    target: Target
    refspecs: tuple[str, ...]
    way: Way


@dataclass(frozen=True)
class Heard:
    """What a check learns: the digest of question and answer, how long the answer was, and itself if it is small."""

    digest: bytes
    size: int
    answer: bytes = b""


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
    """A sink that keeps a hash, and what is small."""

    def __init__(self, question: bytes) -> None:
        self.size = 0
        self.small = b""
        self.hash = _begun(question).copy()

    def __call__(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > protocol.MAX_BYTES:
            raise BadAnswer("the answer is too long")
        self.hash.update(data)
        self.small = self.small + data if self.size <= SMALL_BYTES else b""

    def heard(self) -> Heard:
        """Return what a check learns."""
        return Heard(self.hash.digest(), self.size, self.small)


@lru_cache(maxsize=1024)
def _begun(question: bytes) -> "hashlib._Hash":
    return hashlib.sha256(b"%d:%b" % (len(question), question))


@lru_cache(maxsize=1024)
def _ls_refs(refspecs: tuple[str, ...], is_wide: bool) -> bytes:  # noqa: FBT001  (the key of a cache)
    object_format = ObjectFormat.SHA256 if is_wide else ObjectFormat.SHA1
    return protocol.ls_refs(protocol.prefixes(refspecs), object_format=object_format)


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
        case _:
            posed = Posed(question)
            head = await pool.exchange(question.target.origin, posed.request, posed.sink, dial=dial)
            return posed.heard(head)


class Posed:
    """A question of protocol 2 on its way: one request, whose answer is hashed as it comes."""

    __slots__ = ("_hashed", "_question", "request")

    def __init__(self, question: Question) -> None:
        self._question = _ls_refs(question.refspecs, question.way is Way.V2_SHA256)
        self.request = question.target.request(
            ending=f"/{protocol.SERVICE}", body=self._question, accept=RESULT
        )

    def sink(self) -> _Hashed:
        """Return what takes the body of the answer, for one more try."""
        self._hashed = _Hashed(self._question)
        return self._hashed

    def heard(self, head: Head) -> Heard:
        """Return what the answer says. Raise Refused or BadAnswer."""
        _check(head, RESULT)
        return self._hashed.heard()


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
    request = target.request(ending=f"/{protocol.SERVICE}", body=body, accept=RESULT)
    return await _exchange(pool, target, request, RESULT, make=lambda: sink(body), dial=dial)


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
    _check(head, accept)
    return made[-1]


def _check(head: Head, accept: str) -> None:
    if head.status != 200:
        raise Refused(head.status)
    if head.content_type != accept:
        raise BadAnswer("the answer is not that of a git server")


def heard_of(question: bytes, answer: bytes) -> Heard:
    """Return what a check learns from an answer of protocol 2."""
    sink = _Hashed(question)
    sink(answer)
    return sink.heard()


def sealed(answer: bytes, *, inputs: Sequence[object]) -> bytes:
    """Return the digest that is kept of a mirror: of the answer and of all that decides what is fetched."""
    return hashlib.sha256(repr(tuple(inputs)).encode() + answer).digest()
