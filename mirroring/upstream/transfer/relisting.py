"""Listing an upstream once more, in the way that worked last: one request, without a handshake.

The answer is the one that a check hashes. Nearly all of it is known here already, so it is not read packet by packet:
it is cut at its line ends, and only names that are new are looked at. What cannot be read so is left to `protocol`.
"""

from collections.abc import Collection, Sequence
from operator import itemgetter

from mirroring.upstream.client import protocol
from mirroring.upstream.client.connections import Pool
from mirroring.upstream.client.dialing import Dial
from mirroring.upstream.client.probe import KEPT_BYTES, Question, Way, heard_of
from mirroring.upstream.client.protocol import LONGEST_NAME, LONGEST_PACKET, MAX_REFS, SERVICE, BadAnswer
from mirroring.upstream.client.target import Target
from mirroring.upstream.policy.names import are_names

WAYS = frozenset({Way.V2_SHA1, Way.V2_SHA256})
_HEAD = " HEAD symref-target:"


class Kept:
    """A sink that keeps an answer up to a bound."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.answer = bytearray()

    def __call__(self, data: bytes) -> None:
        self.answer += data
        if len(self.answer) > self.most:
            raise BadAnswer("the answer is too long to be kept")


async def post(pool: Pool, target: Target, body: bytes, *, most: int, dial: Dial) -> bytes:
    """Return the answer of a git server, of at most so many bytes. Raise OSError, BadAnswer or Unsupported."""
    kept: list[Kept] = []

    def sink() -> Kept:
        kept.append(Kept(most))
        return kept[-1]

    accept = f"application/x-{SERVICE}-result"
    request = target.request(ending=f"/{SERVICE}", body=body, accept=accept)
    head = await pool.exchange(target.origin, request, sink, dial=dial)
    if head.status != 200 or head.content_type != accept:
        raise BadAnswer("the answer is not that of a git server")
    return bytes(kept[-1].answer)


async def relist(pool: Pool, question: Question, *, dial: Dial) -> bytes:
    """Return what the upstream answers. Raise as `post` does."""
    return await post(pool, question.target, body_of(question), most=KEPT_BYTES, dial=dial)


def digest_of_answer(question: Question, answer: bytes) -> bytes:
    """Return the digest that a check makes of an answer."""
    return heard_of(body_of(question), answer).digest


def body_of(question: Question) -> bytes:
    """Return the request for what a question of protocol 2 asks."""
    prefixes = protocol.prefixes(question.refspecs)
    return protocol.ls_refs(prefixes, object_format=question.way.object_format)


def read(answer: bytes, *, digits: int, known: Collection[str]) -> tuple[str | None, dict[str, str]] | None:
    """Return the branch that HEAD names, and name -> object id. None: not in the plainest of forms.

    Names that are `known` are believed; whether an object id is one is asked where a ref moves.
    """
    lines = answer.decode("ascii").split("\n") if answer.isascii() else [""]
    if lines.pop() != protocol.FLUSH.decode() or not _are_framed(lines, digits):
        return None
    head, spaces = None, answer.count(b" ")
    if lines and lines[0].startswith(_HEAD, 4 + digits):
        head, spaces = lines.pop(0)[4 + digits + len(_HEAD) :], spaces - _HEAD.count(" ")
    found = {line[digits + 5 :]: line[4 : digits + 4] for line in lines}
    if set(map(itemgetter(digits + 4), lines)) - {" "} or not spaces == len(found) == len(lines):
        return None
    new = [*(found.keys() - known), *([head] if head else [])]
    if max(map(len, new), default=0) > LONGEST_NAME or not are_names([name.encode() for name in new]):
        return None
    return head, found


def _are_framed(lines: Sequence[str], digits: int) -> bool:
    """Say whether each line is a packet, and its end of line the packet's."""
    lengths = list(map(len, lines))
    if not lengths:
        return True
    if len(lengths) > MAX_REFS or min(lengths) < digits + 6 or max(lengths) >= LONGEST_PACKET:
        return False
    framed = {length: f"{length + 1:04x}" for length in set(lengths)}
    return [line[:4] for line in lines] == [framed[length] for length in lengths]
