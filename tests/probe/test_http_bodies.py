"""Bodies of answers: the same however they come in pieces, and no server holds the loop on which all are read."""

import asyncio
import gzip
from collections import Counter

import pytest

from mirroring.upstream.client import http_bodies
from mirroring.upstream.client.http_bodies import Chunked
from mirroring.upstream.client.probe import Posed, Question, Way
from tests.lab.memory_upstream import Refs, http
from tests.probe.asking import HEADS, LOOPBACK, target

pytestmark = pytest.mark.one_database

RESULT = "application/x-git-upload-pack-result"


class Counted(bytes):
    """Bytes that count what is copied of them."""

    copied = 0

    def _counting(self, made):
        Counted.copied += len(made)
        return Counted(made)

    def __add__(self, other):
        return self._counting(bytes(self) + other)

    def __radd__(self, other):
        return self._counting(other + bytes(self))

    def __getitem__(self, which):
        return self._counting(super().__getitem__(which))

    def partition(self, mark):
        return tuple(self._counting(part) for part in super().partition(mark))


def test_tiny_chunks_are_not_copied_for_each_other(monkeypatch):
    monkeypatch.setattr(Counted, "copied", 0)
    parts = []
    data = Counted(b"1\r\na\r\n" * 4_000)

    assert Chunked(parts.append).feed(data) is None

    assert b"".join(parts) == b"a" * 4_000
    assert Counted.copied < 4 * len(data)


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 8, 1000])
def test_chunks_mean_the_same_however_they_are_cut(cut):
    chunks = b"3\r\nabc\r\n", b"1;x=y\r\nd\r\n", b"00A \r\n" + b"\r\n45678\r\n\r" + b"\r\n"
    data = b"".join(chunks) + b"0\r\nA: b\r\nC: d\r\n\r\n"
    parts = []
    body = Chunked(parts.append)
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]

    ends = [body.feed(piece) for piece in pieces[:-1]] + [body.feed(pieces[-1] + b"more")]

    assert b"".join(parts) == b"abcd\r\n45678\r\n\r"
    assert ends == [None] * (len(pieces) - 1) + [b"more"]


def unzipped_in_turns(client, where):
    """Return how much of an answer is unzipped in each turn of the loop."""
    turns = Counter()

    async def ask():
        turn = 0

        async def be_another():
            nonlocal turn
            while True:
                turn += 1
                await asyncio.sleep(0)

        def take(data):
            turns[turn] += len(data)

        other = asyncio.create_task(be_another())
        request = Posed(Question(where, HEADS, Way.V2_SHA1)).request
        try:
            await client.loop.pool.exchange(where.origin, request, lambda: take, dial=lambda: LOOPBACK)
        finally:
            other.cancel()

    client.loop.run(ask(), seconds=20)
    return turns


@pytest.mark.parametrize("secure", [False, True])
def test_others_have_their_turn_while_much_is_unzipped(secure, request, client, authority):
    served = request.getfixturevalue("tls_upstream" if secure else "upstream")
    served.special["a"] = lambda request: http(b"0" * 5_000_000, kind=RESULT, encoding="gzip")
    where = target(served.url_of("a"), **({"ca_bundle": authority.bundle} if secure else {}))

    turns = unzipped_in_turns(client, where)

    assert turns.total() == 5_000_000
    assert max(turns.values()) <= http_bodies._PIECE


@pytest.mark.parametrize("framing", ["", "chunked", "close"])
def test_a_long_gzipped_answer_means_the_same_and_leaves_the_connection_usable(upstream, client, framing):
    where = target(upstream.url_of("a"))
    good = Refs.made("a", count=20_000).listed(("HEAD", "refs/"))
    upstream.special["a"] = lambda request: http(good, kind=RESULT)
    plain = client.digest(where)
    zipped = gzip.compress(good)
    upstream.special["a"] = lambda request: http(
        zipped, kind=RESULT, encoding=framing, extra="Content-Encoding: gzip"
    )

    assert len(good) > 3 * http_bodies._PIECE
    assert [client.digest(where) for _ in range(3)] == [plain] * 3
    assert upstream.connections == (3 if framing == "close" else 1)
