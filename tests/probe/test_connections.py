"""Connections to upstreams: kept, pinned, encrypted, bounded, and strict about where an answer ends."""

import asyncio
import gc
import os
import socket
import threading
import time
import weakref
from dataclasses import replace

import pytest

from mirroring.upstream.client.dialing import Unsupported
from mirroring.upstream.client.probe import Posed, Question, Refused, Way, check
from mirroring.upstream.client.protocol import BadAnswer
from mirroring.upstream.client.target import authorization
from tests.lab.memory_upstream import Refs, http
from tests.probe.asking import HEADS, LOOPBACK, target

pytestmark = pytest.mark.one_database

RESULT = "application/x-git-upload-pack-result"


def test_many_questions_go_through_one_connection_that_was_dialled_once(upstream, client):
    where = target(upstream.url_of("a"))
    assert len({client.digest(where) for _ in range(20)}) == 1
    assert upstream.connections == 1
    assert len(client.dialled) == 1


def test_a_connection_goes_to_the_address_that_was_given_and_to_no_other(upstream, client):
    where = target(upstream.url_of("a").replace("127.0.0.1", "git.invalid"))
    assert client.digest(where)
    assert upstream.requests[0].headers["host"].startswith("git.invalid:")


def test_the_next_address_is_tried_where_the_first_does_not_answer(upstream, client):
    assert client.digest(target(upstream.url_of("a")), dial=lambda: ["127.0.0.2", *LOOPBACK])


def test_what_the_address_policy_raises_is_raised(upstream, client):
    class Refusal(Exception):
        pass

    def refuse():
        raise Refusal

    with pytest.raises(Refusal):
        client.digest(target(upstream.url_of("a")), dial=refuse)
    assert upstream.connections == 0


def test_what_the_address_policy_refuses_is_not_asked_of_a_proxy_either(upstream, client):
    class Refusal(Exception):
        pass

    def refuse():
        raise Refusal

    proxy = f"http://127.0.0.1:{upstream.port}"
    with pytest.raises(Refusal):
        client.digest(target("http://inner.example/a.git", proxy=proxy), dial=refuse)
    assert upstream.connections == 0


def test_names_that_nobody_answers_for_hold_up_no_other(upstream, client):
    waiting = threading.Event()
    for number in range(50):
        silent = Question(target(f"http://silent-{number}.example/a.git"), HEADS, Way.V2_SHA1)
        asking = check(client.loop.pool, silent, dial=lambda: waiting.wait(10) and [])
        asyncio.run_coroutine_threadsafe(asking, client.loop.get())

    began = time.monotonic()
    assert client.digest(target(upstream.url_of("a")))
    took = time.monotonic() - began
    waiting.set()

    assert took < 5


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(upstream, client):
    where = target(upstream.url_of("a"))
    before = client.digest(where)
    upstream.drop_connections()
    time.sleep(0.05)
    assert client.digest(where) == before
    assert upstream.connections == 2


def test_a_connection_that_is_cut_at_the_next_question_is_replaced_once(upstream, client):
    where = target(upstream.url_of("a"))
    before = client.digest(where)
    cuts = []

    def cut(request):
        cuts.append(request)
        upstream.drop_connections()

    upstream.special["a"] = cut
    with pytest.raises(OSError, match="cut"):
        client.digest(where)
    assert len(cuts) == 2
    del upstream.special["a"]
    assert client.digest(where) == before


def test_an_old_or_idle_connection_is_not_used_again(upstream, client, monkeypatch):
    where = target(upstream.url_of("a"))
    for limit in ("IDLE_SECONDS", "OLDEST_SECONDS"):
        client.digest(where)
        before = upstream.connections
        with monkeypatch.context() as patch:
            patch.setattr(f"mirroring.upstream.client.connections.{limit}", 0.0)
            client.digest(where)
        assert upstream.connections == before + 1


def test_idle_connections_are_closed_and_never_too_many(upstream, client, monkeypatch):
    client.digest(target(upstream.url_of("a")))
    client.digest(target(upstream.url_of("a").replace("127.0.0.1", "other.invalid")))
    assert _tidied(client) == 2
    monkeypatch.setattr("mirroring.upstream.client.connections.MOST_IDLE", 1)
    assert _tidied(client) == 1
    monkeypatch.setattr("mirroring.upstream.client.connections.IDLE_SECONDS", 0.0)
    assert _tidied(client) == 0


def test_idle_connections_are_counted_out_also_between_two_looks(upstream, client, monkeypatch):
    monkeypatch.setattr("mirroring.upstream.client.connections.MOST_IDLE", 3)
    monkeypatch.setattr("mirroring.upstream.client.connections.SURPLUS", 2)
    for number in range(9):
        client.digest(target(upstream.url_of("a").replace("127.0.0.1", f"host-{number}.example")))
        assert len(client.loop.pool._idle) <= 5


def test_an_idle_connection_keeps_nothing_of_its_answer(upstream, client):
    kept = []

    class Sink:
        def __call__(self, data):
            pass

    def sink():
        made = Sink()
        kept.append(weakref.ref(made))
        return made

    where = target(upstream.url_of("a"))
    request = Posed(Question(where, HEADS, Way.V2_SHA1)).request
    client.loop.run(client.loop.pool.exchange(where.origin, request, sink, dial=client.dial), seconds=5)
    gc.collect()

    assert len(client.loop.pool._idle) == 1
    assert [each() for each in kept] == [None]


def test_the_older_handshake_asks_for_no_copy_of_a_proxy(upstream, client):
    upstream.speaks = 0
    client.digest(target(upstream.url_of("a")), way=Way.ADVERTISED)
    assert upstream.requests[-1].headers["pragma"] == "no-cache"


def _tidied(client):
    async def tidy():
        client.loop.pool.tidy()
        return sum(map(len, client.loop.pool._idle.values()))

    return client.loop.run(tidy(), seconds=5)


@pytest.mark.parametrize("encoding", ["", "gzip", "chunked", "close"])
def test_an_answer_means_the_same_however_it_is_sent(upstream, client, encoding):
    where = target(upstream.url_of("a"))
    plain = client.digest(where)
    upstream.encoding = encoding
    assert client.digest(where) == plain
    assert client.look(where).digest == plain


def test_a_password_is_sent_to_the_host_that_asks_for_none_first(upstream, client):
    secret = authorization("lab", "größe")
    upstream.password = secret.decode()
    with pytest.raises(Refused) as refused:
        client.digest(target(upstream.url_of("a")))
    assert refused.value.status == 401
    assert client.digest(target(upstream.url_of("a"), authorization=secret))
    assert "lab" not in repr(target(upstream.url_of("a"), authorization=secret))


def test_tls_is_checked_against_the_bundle_of_the_host(tls_upstream, client, authority):
    where = target(tls_upstream.url_of("a"), ca_bundle=authority.bundle)
    assert client.digest(where)
    with pytest.raises(OSError, match="certificate verify failed"):
        client.digest(target(tls_upstream.url_of("a")))


def test_tls_is_checked_against_the_name_in_the_url(tls_upstream, client, authority):
    where = target(tls_upstream.url_of("a").replace("127.0.0.1", "git.invalid"), ca_bundle=authority.bundle)
    with pytest.raises(OSError, match="certificate verify failed"):
        client.digest(where)


def test_a_bundle_that_is_replaced_during_an_answer_spoils_no_later_connection(
    tls_upstream, client, authority
):
    where = target(tls_upstream.url_of("a"), ca_bundle=authority.bundle)
    answers = []

    def replace_the_bundle(request):
        answers.append(True)
        os.utime(authority.bundle, (len(answers), len(answers)))
        return tls_upstream.answer(replace(request, path=request.path.replace("/a.git", "/b.git")))

    tls_upstream.repositories["b"] = tls_upstream.repositories["a"]
    tls_upstream.special["a"] = replace_the_bundle
    for _ in range(3):
        assert client.digest(where)
        tls_upstream.drop_connections()
        time.sleep(0.05)


def test_a_second_tls_connection_resumes_the_session_of_the_first(tls_upstream, client, authority):
    where = target(tls_upstream.url_of("a"), ca_bundle=authority.bundle)
    before = client.digest(where)
    tls_upstream.drop_connections()
    time.sleep(0.05)
    assert client.digest(where) == before
    assert (tls_upstream.connections, tls_upstream.resumed) == (2, 1)


def test_a_redirect_is_not_followed(upstream, client):
    upstream.special["a"] = lambda request: http(
        b"", status="302 Found", extra=f"Location: {upstream.url_of('b')}"
    )
    upstream.repositories["b"] = Refs.made("b", count=2)
    with pytest.raises(Refused) as refused:
        client.digest(target(upstream.url_of("a")))
    assert refused.value.status == 302
    assert upstream.asked() == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n0000",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0000",
        b"HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\n0000",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n0000",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n0000",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\n0000",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n0000",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-4\r\n0000\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0000XX0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\nContent-Length: 4\r\n\r\n0000",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 40_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 6_000,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n0000",
    ],
)
def test_an_answer_that_can_be_read_in_two_ways_or_in_none_is_refused(upstream, client, answer):
    upstream.special["a"] = lambda request: answer
    with pytest.raises(BadAnswer):
        client.digest(target(upstream.url_of("a")))


def test_what_a_server_sends_unasked_is_never_taken_for_the_next_answer(upstream, client):
    where = target(upstream.url_of("a"))
    right = client.digest(where)
    good = upstream.repositories["a"].listed(("HEAD",))
    forged = http(b"0000", kind=RESULT)
    upstream.special["a"] = lambda request: http(good, kind=RESULT) + forged
    client.digest(where)
    del upstream.special["a"]
    assert client.digest(where) == right
    assert upstream.connections == 2


def test_an_answer_that_is_cut_off_is_no_answer(upstream, client):
    def cut(request):
        whole = http(upstream.repositories["a"].listed(()), kind=RESULT)
        return whole[: len(whole) // 2].replace(b"\r\n", b"\r\nConnection: close\r\n", 1)

    upstream.special["a"] = cut
    with pytest.raises(OSError, match="cut"):
        client.digest(target(upstream.url_of("a")))


def test_a_bomb_is_stopped_before_it_is_unpacked(upstream, client, monkeypatch):
    monkeypatch.setattr("mirroring.upstream.client.protocol.MAX_BYTES", 1_000_000)
    upstream.special["a"] = lambda request: http(b"0" * 50_000_000, kind=RESULT, encoding="gzip")
    with pytest.raises(BadAnswer, match="too long"):
        client.digest(target(upstream.url_of("a")))


def test_an_endless_answer_is_cut(upstream, client, monkeypatch):
    monkeypatch.setattr("mirroring.upstream.client.protocol.MAX_BYTES", 1_000_000)
    head = http(b"", kind=RESULT, encoding="chunked").removesuffix(b"0\r\n\r\n")
    upstream.special["a"] = lambda request: head + b"ffffffff\r\n" + b"0" * 1_000_001
    with pytest.raises(BadAnswer, match="too long"):
        client.digest(target(upstream.url_of("a")))


def test_plain_requests_go_through_the_proxy_whole(upstream, client):
    proxy = f"http://someone:word@127.0.0.1:{upstream.port}"
    where = target("http://git.invalid/a.git", proxy=proxy)
    upstream.special["http://git.invalid/a"] = lambda request: http(b"0000", kind=RESULT)
    assert client.digest(where)
    assert client.dialled == [True]  # The policy is asked; the proxy finds the address.
    assert upstream.requests[0].path == "http://git.invalid/a.git/git-upload-pack"
    assert upstream.requests[0].headers["proxy-authorization"] == "Basic c29tZW9uZTp3b3Jk"


def test_encrypted_requests_go_through_a_tunnel_of_the_proxy(tls_upstream, client, authority, tunnel):
    where = target(tls_upstream.url_of("a"), ca_bundle=authority.bundle, proxy=tunnel.url)
    assert client.digest(where) == client.digest(where)
    assert tunnel.asked == [f"CONNECT 127.0.0.1:{tls_upstream.port} HTTP/1.1"]


def test_a_proxy_that_refuses_or_cannot_be_used_is_named(tls_upstream, client, authority, tunnel):
    tunnel.refuses = True
    with pytest.raises(BadAnswer, match="proxy"):
        client.digest(target(tls_upstream.url_of("a"), ca_bundle=authority.bundle, proxy=tunnel.url))
    with pytest.raises(Unsupported):
        client.digest(target(tls_upstream.url_of("a"), proxy="socks5://127.0.0.1:1"))


class Tunnel:
    """A proxy that opens tunnels to any port of this machine."""

    def __init__(self):
        self.asked, self.refuses = [], False
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        head = client.recv(4096).decode()
        self.asked.append(head.split("\r\n")[0])
        if self.refuses:
            with client:
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        other = socket.create_connection(("127.0.0.1", int(head.split()[1].rpartition(":")[2])))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=self._copy, args=(client, other), daemon=True).start()
        self._copy(other, client)

    def _copy(self, source, target):
        with source, target:
            try:
                while data := source.recv(65536):
                    target.sendall(data)
            except OSError:
                pass


@pytest.fixture
def tunnel():
    made = Tunnel()
    yield made
    made.listening.shutdown(socket.SHUT_RDWR)  # Ends the accept that waits.
    made.listening.close()
