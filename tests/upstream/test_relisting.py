"""Listing once more in the way that worked last: the same as by the reader for all, and as a check hashes it."""

import json

import pytest

from mirroring.upstream.client import protocol
from mirroring.upstream.client.probe import Question, Way
from mirroring.upstream.client.protocol import BadAnswer, packet
from mirroring.upstream.transfer import relisting
from mirroring.upstream.transfer.ways import WAYS_OF_HOSTS
from tests.lab.repositories import push_commits
from tests.making import git, heads_and_tags
from tests.probe.asking import HEADS, LOOPBACK, Client, target

OID, OTHER = "12" * 20, "ab" * 20
HEAD = packet(f"{OID} HEAD symref-target:refs/heads/main\n".encode())
MAIN = packet(f"{OID} refs/heads/main\n".encode())


def line(text):
    return packet(text.encode() + b"\n")


@pytest.fixture
def upstream(make_upstream):
    made = make_upstream("pulls")
    push_commits(made, seed=1, kind="tag")
    return made


@pytest.fixture
def client():
    made = Client()
    yield made
    made.close()


@pytest.fixture
def answered(upstream, git_server, client):
    """Return what a real server answers, with the digest, and the target."""
    asked = target(git_server.add(upstream.name, upstream.path))
    question = Question(asked, HEADS, Way.V2_SHA1)
    answer = client.loop.run(relisting.relist(client.loop.pool, question, dial=lambda: LOOPBACK), seconds=20)
    return answer, relisting.digest_of_answer(question, answer), asked


def test_the_digest_is_that_of_a_check(answered, client):
    _, digest, asked = answered
    assert digest == client.digest(asked)


@pytest.mark.parametrize("knows", ["nothing", "all"])
def test_a_real_answer_is_read_as_the_reader_for_all_reads_it(answered, upstream, knows):
    answer, _, _ = answered
    said = protocol.read_ls_refs(answer)
    names = {name.decode(): oid.decode() for name, oid in said.refs.items()}

    read = relisting.read(answer, digits=40, known=names if knows == "all" else ())

    assert read == (said.head.decode(), names)
    assert names.items() >= heads_and_tags(upstream.path).items()


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"0000", (None, {})),
        (MAIN + b"0000", (None, {"refs/heads/main": OID})),
        (HEAD + MAIN + b"0000", ("refs/heads/main", {"refs/heads/main": OID})),
    ],
)
def test_plain_answers_are_read(answer, found):
    assert relisting.read(answer, digits=40, known=()) == found


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        MAIN,
        MAIN + b"0000\n",
        MAIN + b"0000" + MAIN + b"0000",
        MAIN + MAIN + b"0000",
        MAIN.replace(b"003d", b"003e") + b"0000",
        MAIN.replace(b"003d", b"+03d") + b"0000",
        packet(b"ERR no such repository, or none that you may see, whoever you are\n") + b"0000",
        packet(f"{OID} refs/heads/main".encode()) + MAIN + b"0000",
        line(f"{OID}  refs/heads/main") + b"0000",
        line(f"{OID[:-1]} refs/heads/main") + b"0000",
        line(f"{OID}{OID[:24]} refs/heads/main") + b"0000",
        line(f"{OID} refs/heads/link symref-target:refs/heads/main") + b"0000",
        line(f"{OID} refs/heads/two words") + b"0000",
        line(f"{OID} refs/heads/a..b") + b"0000",
        line(f"{OID} refs/heads/a\x01b") + b"0000",
        line(f"{OID} refs/heads/ä") + b"0000",
        line(f"{OID} refs/heads/{'x' * 5000}") + b"0000",
        line(f"{OID} HEAD symref-target:refs/heads/..") + b"0000",
        line("unborn HEAD symref-target:refs/heads/main") + b"0000",
    ],
)
def test_whatever_else_comes_is_left_to_the_reader_for_all(answer):
    assert relisting.read(answer, digits=40, known={"refs/heads/known": OTHER}) is None


def test_an_answer_beyond_its_bound_is_given_up():
    kept = relisting.Kept(5)
    kept(b"12345")
    with pytest.raises(BadAnswer):
        kept(b"6")


@pytest.fixture
def mirrored(upstream, git_server, bring, request_log):
    """Import, and return a function that imports again by the way of the last time and says what was asked."""
    url = git_server.add(upstream.name, upstream.path)
    way = bring(url, probes=True).way

    def again(**order):
        nonlocal way
        before = len(request_log.read_text().splitlines())
        way = bring(url, **{"probes": True, "way": way, **order}).way
        lines = [json.loads(line) for line in request_log.read_text().splitlines()[before:]]
        return [line["kind"] for line in lines if line["event"] == "start"]

    return again


def test_a_mirror_whose_way_is_known_needs_no_handshake(upstream, mirrored, repository):
    push_commits(upstream, seed=2, kind="commit")

    assert mirrored() == ["ls-refs", "fetch"]
    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)


def test_what_cannot_be_read_quickly_is_read_all_the_same(upstream, mirrored, repository):
    git(upstream.path, "update-ref", "refs/heads/ä", "main")

    assert mirrored() == ["ls-refs"]
    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)


@pytest.mark.parametrize("way", ["v2 sha256", "advertised", "git", "unheard of", ""])
def test_a_way_that_leads_nowhere_is_found_anew(way, upstream, mirrored, repository):
    push_commits(upstream, seed=2, kind="commit")
    WAYS_OF_HOSTS.__init__()  # Or what worked for others of the host would be tried first.

    assert mirrored(way=way)[-3:] == ["refs", "ls-refs", "fetch"]
    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)
