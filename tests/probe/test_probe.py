"""Asking what an upstream's refs are: of real git servers and of ones that answer from memory."""

import pytest

from mirroring.upstream.client.dialing import Unsupported
from mirroring.upstream.client.probe import Refused, Way
from mirroring.upstream.client.protocol import BadAnswer, ObjectFormat
from tests.lab.repositories import push_commits
from tests.probe.asking import commit, git, target

pytestmark = pytest.mark.one_database

EVERYTHING = ("+refs/*:refs/*",)


def test_a_real_server_lists_what_git_lists(git_server, bare, client):
    path = bare(refs=5)
    where = target(git_server.add("real", path))
    found = client.look(where)
    assert found.way is Way.V2_SHA1
    assert found.listing.head == b"refs/heads/main"
    expected = git(path, "for-each-ref", "--format=%(refname) %(objectname)").split("\n")[:-1]
    assert [f"{name.decode()} {oid.decode()}" for name, oid in sorted(found.listing.refs.items())] == expected
    assert client.digest(where) == found.digest


def test_a_repository_with_sha256_is_listed_and_checked(git_server, bare, client):
    where = target(git_server.add("long", bare("sha256")))
    found = client.look(where)
    assert (found.way, found.listing.object_format) == (Way.V2_SHA256, ObjectFormat.SHA256)
    assert client.digest(where, way=Way.V2_SHA256) == found.digest
    assert client.digest(where, way=Way.V2_SHA1) != found.digest


def test_a_server_without_protocol_2_is_asked_by_the_handshake(upstream, client):
    upstream.speaks = 0
    where = target(upstream.url_of("a"))
    found = client.look(where)
    assert found.way is Way.ADVERTISED
    assert client.digest(where, way=Way.ADVERTISED) == found.digest
    upstream.repositories["a"].refs["refs/pull/1/head"] = "a" * 40
    assert client.digest(where, way=Way.ADVERTISED) == found.digest
    upstream.repositories["a"].push()
    assert client.digest(where, way=Way.ADVERTISED) != found.digest


def test_a_server_that_learned_protocol_2_is_no_unchanged_one(upstream, client):
    upstream.speaks = 0
    client.look(target(upstream.url_of("a")))
    upstream.speaks = 2
    with pytest.raises(BadAnswer):
        client.digest(target(upstream.url_of("a")), way=Way.ADVERTISED)


def test_only_git_asks_what_only_git_could(upstream, client):
    with pytest.raises(Unsupported):
        client.digest(target(upstream.url_of("a")), way=Way.GIT)
    assert upstream.asked() == 0


@pytest.mark.parametrize("kind", ["commit", "branch", "tag", "delete", "force", "head"])
def test_every_kind_of_push_changes_the_digest(git_server, make_upstream, client, kind):
    made = make_upstream("branches")
    where = target(git_server.add(made.name, made.path))
    before = client.digest(where)
    push_commits(made, seed=3, kind=kind)
    assert client.digest(where) != before


def test_a_change_beyond_the_selected_refs_changes_nothing(git_server, bare, client):
    path = bare()
    where = target(git_server.add("real", path))
    before, everything = client.digest(where), client.digest(where, refspecs=EVERYTHING)
    commit(path, "refs/pull/7/head", "a pull request")
    assert client.digest(where) == before
    assert client.digest(where, refspecs=EVERYTHING) != everything


def test_the_question_is_part_of_the_digest(upstream, client):
    where = target(upstream.url_of("a"))
    assert client.digest(where) != client.digest(where, refspecs=("+refs/heads/*:refs/heads/*",))


def test_an_empty_repository_is_listed_as_one(git_server, bare, client):
    found = client.look(target(git_server.add("empty", bare(refs=0))))
    assert found.listing.refs == {}


@pytest.mark.parametrize("behaviour", ["gone", "status:500", "status:204"])
def test_any_status_but_200_is_no_listing(git_server, bare, client, behaviour):
    where = target(git_server.add("real", bare(), behaviour=behaviour))
    with pytest.raises(Refused):
        client.digest(where)
    with pytest.raises(Refused):
        client.look(where)
