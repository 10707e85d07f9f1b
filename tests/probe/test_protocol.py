"""What git servers say, read strictly."""

import pytest

from mirroring.upstream.client import protocol
from mirroring.upstream.client.protocol import (
    BadAnswer,
    ObjectFormat,
    packet,
    prefixes,
    read_handshake,
    read_ls_refs,
)
from tests.lab.memory_upstream import Refs, object_id

pytestmark = pytest.mark.one_database

OID = object_id("x").encode()
OTHER = object_id("y").encode()


def listed(*lines, end=b"0000"):
    return b"".join(packet(line + b"\n") for line in lines) + end


def test_an_answer_gives_the_refs_and_the_branch_that_head_names():
    body = listed(
        OID + b" HEAD symref-target:refs/heads/main", OID + b" refs/heads/main", OTHER + b" refs/tags/v1"
    )
    found = read_ls_refs(body)
    assert found.refs == {b"refs/heads/main": OID, b"refs/tags/v1": OTHER}
    assert found.head == b"refs/heads/main"


def test_the_head_of_an_empty_repository_is_read_though_it_has_no_object():
    assert read_ls_refs(listed(b"unborn HEAD symref-target:refs/heads/trunk")).head == b"refs/heads/trunk"


def test_names_beyond_ascii_are_taken_as_they_are():
    name = "refs/heads/größe/日本語-🚀".encode()
    assert read_ls_refs(listed(OID + b" " + name)).refs == {name: OID}


@pytest.mark.parametrize(
    "name",
    [
        b"refs/heads/../../../etc/passwd",
        b"refs/heads/a..b",
        b"refs/heads/.hidden",
        b"refs/heads/a.lock",
        b"refs/heads/a.lock/b",
        b"refs/heads/a//b",
        b"refs/heads/a/",
        b"refs/heads/a.",
        b"refs/heads/a~1",
        b"refs/heads/a^1",
        b"refs/heads/a:b",
        b"refs/heads/a?",
        b"refs/heads/a*",
        b"refs/heads/a[b]",
        b"refs/heads/a\\b",
        b"refs/heads/a\x7fb",
        b"refs/heads/a\tb",
        b"refs/heads/a\x00b",
        b"refs/heads/a\rb",
        b"refs/heads/a\nb",
        b"refs/heads/a@{1}",
        b"refs/",
        b"--upload-pack=x",
        b"config",
        b"/refs/heads/a",
        b"refs/heads/" + b"a" * 5000,
    ],
)
def test_a_ref_name_that_git_would_not_accept_is_refused(name):
    with pytest.raises(BadAnswer):
        read_ls_refs(listed(OID + b" " + name))
    with pytest.raises(BadAnswer):
        read_ls_refs(listed(OID + b" HEAD symref-target:" + name))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"0000junk",
        listed(OID + b" refs/heads/a", end=b""),
        listed(OID + b" refs/heads/a")[:-9],
        listed(OID + b" refs/heads/a") + listed(OID + b" refs/heads/b"),
        b"zzzz" + OID + b" refs/heads/a\n0000",
        b"0003x0000",
        b"fff1" + b"a" * 65_521 + b"0000",
        listed(OID + b" refs/heads/a", OTHER + b" refs/heads/a"),
        listed(OID[:39] + b" refs/heads/a"),
        listed(OID.upper().replace(b"0", b"G") + b" refs/heads/a"),
        listed(OID * 2 + b" refs/heads/a"),
        listed(b"ERR access denied"),
        b"<html>not found</html>",
    ],
)
def test_an_answer_that_is_broken_in_any_way_is_no_listing(body):
    with pytest.raises(BadAnswer):
        read_ls_refs(body)


def test_a_server_that_refuses_is_quoted():
    with pytest.raises(BadAnswer, match="mismatched object format"):
        read_ls_refs(listed(b"ERR mismatched object format: server sha256; client sha1"))


def test_more_refs_than_any_repository_has_are_refused(monkeypatch):
    monkeypatch.setattr(protocol, "MAX_REFS", 3)
    few = [OID + b" refs/heads/%d" % number for number in range(3)]
    assert len(read_ls_refs(listed(*few)).refs) == 3
    with pytest.raises(BadAnswer, match="more than 3"):
        read_ls_refs(listed(*few, OID + b" refs/heads/one-more"))


def test_objects_of_sha256_are_read_only_where_the_repository_has_them():
    long = object_id("x", digits=64).encode()
    body = listed(long + b" refs/heads/main")
    assert read_ls_refs(body, object_format=ObjectFormat.SHA256).refs == {b"refs/heads/main": long}
    with pytest.raises(BadAnswer):
        read_ls_refs(body)


def test_the_handshake_of_protocol_2_says_what_the_server_can_do():
    body = (
        packet(b"# service=git-upload-pack\n")
        + b"0000"
        + listed(b"version 2", b"ls-refs=unborn", b"object-format=sha256")
    )
    said = read_handshake(body)
    assert said.listing is None
    assert said.object_format is ObjectFormat.SHA256


@pytest.mark.parametrize("version", [b"", packet(b"version 1\n")])
def test_the_handshake_of_older_protocols_is_a_listing(version):
    refs = Refs({"refs/heads/main": OID.decode(), "refs/tags/v1": OTHER.decode()})
    before, after = refs.advertised().split(b"0000", 1)
    said = read_handshake(before + b"0000" + version + after)
    assert said.listing is not None
    assert said.listing.refs == {b"refs/heads/main": OID, b"refs/tags/v1": OTHER}
    assert said.listing.head == b"refs/heads/main"


def test_an_empty_repository_is_told_apart_from_a_page():
    said = read_handshake(Refs({}).advertised())
    assert said.listing is not None
    assert said.listing.refs == {}
    for page in (
        b"",
        b"0000",
        b"<html></html>",
        packet(b"# service=git-receive-pack\n") + b"0000" + listed(b"version 2"),
    ):
        with pytest.raises(BadAnswer):
            read_handshake(page)


def test_the_prefixes_cover_every_ref_that_the_refspecs_select():
    assert prefixes(("+refs/heads/*:refs/heads/*", "+refs/tags/v*:refs/tags/v*")) == (
        "refs/heads/",
        "refs/tags/v",
    )
    assert prefixes(("+refs/heads/main:refs/heads/main",)) == ("refs/heads/main",)
    assert prefixes(("+refs/heads/*/stable:refs/heads/*/stable",)) == ("refs/heads/",)
