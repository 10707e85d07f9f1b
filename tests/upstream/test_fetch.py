"""One import, over real HTTP: what a mirror holds afterwards."""

import os
import shutil
import time
from pathlib import Path
from random import Random

import pytest

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.git.process import GitError, StopHandle, Stopped
from tests.lab import fast_import, hostile, repositories, shapes
from tests.lab.fast_import import Stream
from tests.lab.hostile import HostileServer
from tests.making import git, heads_and_tags, loose_refs, refs_of
from tests.probe.asking import commit, make_bare
from tests.upstream.conftest import EVERYTHING

SHAPES = [pytest.param(name, marks=pytest.mark.long) if name == "big" else name for name in shapes.SHAPES]


def head(path):
    return (path / "HEAD").read_text()


def serve(git_server, upstream):
    return git_server.add(upstream.name, upstream.path)


def point(path, ref, target="main"):
    """Let a ref of an upstream point at a commit; its name may be any bytes that git allows."""
    oid = git(path, "rev-parse", target).strip()
    git(path, "update-ref", ref, oid)
    return oid


@pytest.fixture
def upstream(make_upstream):
    return make_upstream("pulls")


@pytest.fixture
def url(git_server, upstream):
    return serve(git_server, upstream)


# -- what is selected -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_a_mirror_has_the_branches_and_tags_of_its_upstream_and_its_head(
    shape, make_upstream, git_server, bring, repository
):
    upstream = make_upstream(shape)

    fetched = bring(serve(git_server, upstream))

    assert refs_of(repository.path) == heads_and_tags(upstream.path)
    assert head(repository.path) == head(upstream.path)
    assert fetched.refs_changed == upstream.heads + upstream.tags
    assert loose_refs(repository.path) == []
    git(repository.path, "fsck", "--connectivity-only")


def test_by_default_the_refs_of_pull_requests_stay_away(upstream, url, bring, repository):
    bring(url)

    assert upstream.pulls > 0
    assert refs_of(repository.path, "refs/pull") == {}


def test_all_refs_are_all_refs(upstream, url, bring, repository):
    bring(url, refspecs=EVERYTHING)

    assert refs_of(repository.path) == refs_of(upstream.path)


def test_patterns_select_what_they_match(make_upstream, git_server, bring, repository):
    upstream = make_upstream("deep")

    bring(
        serve(git_server, upstream),
        refspecs=["+refs/heads/feature/*:refs/heads/feature/*", "+refs/heads/main:refs/heads/main"],
    )

    assert set(refs_of(repository.path)) == {
        "refs/heads/feature/a/b",
        "refs/heads/feature/a/c",
        "refs/heads/feature/d",
        "refs/heads/main",
    }


@pytest.mark.parametrize("narrower", [["+refs/heads/*:refs/heads/*"], ["+refs/heads/main:refs/heads/main"]])
def test_a_selection_that_was_made_narrower_drops_what_it_no_longer_selects(
    narrower, upstream, url, bring, repository
):
    bring(url, refspecs=EVERYTHING)

    fetched = bring(url, refspecs=narrower)

    assert refs_of(repository.path) == refs_of(upstream.path, narrower[0].rpartition(":")[2].rstrip("*"))
    assert fetched.outcome is Outcome.CHANGED


def test_a_selection_that_was_made_wider_brings_the_rest(upstream, url, bring, repository):
    bring(url)
    bring(url, refspecs=EVERYTHING)

    assert refs_of(repository.path) == refs_of(upstream.path)


# -- what changes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", repositories.PUSH_KINDS)
def test_a_push_to_the_upstream_is_in_the_mirror_after_the_next_import(
    kind, make_upstream, git_server, bring, repository
):
    upstream = make_upstream("branches")
    url = serve(git_server, upstream)
    bring(url)
    repositories.push_commits(upstream, seed=5, kind=kind)

    fetched = bring(url)

    assert refs_of(repository.path) == heads_and_tags(upstream.path)
    assert head(repository.path) == head(upstream.path)
    assert fetched.refs_changed == (2 if kind == "tag" else 1)
    assert fetched.outcome is Outcome.CHANGED
    assert loose_refs(repository.path) == []


def test_an_import_that_brings_nothing_new_says_so_and_touches_nothing(url, bring, repository):
    bring(url)
    before = repository.packed_refs.stat()

    fetched = bring(url)

    assert (fetched.refs_changed, fetched.outcome) == (0, Outcome.UNCHANGED)
    assert repository.packed_refs.stat().st_ino == before.st_ino


def test_a_head_that_readers_see_was_on_the_disk_before_and_one_that_stays_is_not_touched(
    upstream, url, bring, repository, monkeypatch
):
    synced, sync = set(), os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.add(os.fstat(handle).st_ino), sync(handle)))
    point(upstream.path, "refs/heads/other")
    bring(url)
    first = (repository.path / "HEAD").stat().st_ino
    point(upstream.path, "refs/heads/more")
    bring(url)
    assert (repository.path / "HEAD").stat().st_ino == first
    git(upstream.path, "symbolic-ref", "HEAD", "refs/heads/other")

    bring(url)

    assert first != (repository.path / "HEAD").stat().st_ino in synced


def test_a_head_that_moves_alone_is_followed_though_no_ref_changed(upstream, url, bring, repository):
    point(upstream.path, "refs/heads/other")
    bring(url)
    git(upstream.path, "symbolic-ref", "HEAD", "refs/heads/other")

    bring(url)

    assert head(repository.path) == "ref: refs/heads/other\n"


@pytest.mark.parametrize(("first", "then"), [("x", "x/y"), ("x/y", "x"), ("x/y/z", "x")])
def test_a_branch_whose_name_is_now_a_folder_or_was_one_is_no_obstacle(
    first, then, upstream, url, bring, repository
):
    point(upstream.path, f"refs/heads/{first}")
    bring(url)
    git(upstream.path, "update-ref", "-d", f"refs/heads/{first}")
    point(upstream.path, f"refs/heads/{then}")

    bring(url)

    assert refs_of(repository.path) == heads_and_tags(upstream.path)


@pytest.mark.parametrize("name", ["line\u2028separator", "next\u0085line", "größe-🚀", "HEAD", "long" * 45])
def test_any_name_that_git_allows_is_mirrored(name, upstream, url, bring, repository):
    point(upstream.path, f"refs/heads/{name}")

    assert bring(url).outcome is Outcome.CHANGED
    assert bring(url).outcome is Outcome.UNCHANGED
    assert refs_of(repository.path) == heads_and_tags(upstream.path)


def test_a_tag_of_a_file_or_a_folder_is_mirrored_like_any_other(upstream, url, bring, repository):
    for kind, name in (("tree", "main^{tree}"), ("blob", "main:" + files_of(upstream.path)[0])):
        git(upstream.path, "update-ref", f"refs/tags/{kind}", git(upstream.path, "rev-parse", name).strip())

    bring(url)

    assert refs_of(repository.path) == heads_and_tags(upstream.path)
    assert git(repository.path, "cat-file", "-t", "refs/tags/blob") == "blob\n"


def files_of(path):
    return git(path, "-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", "main").splitlines()


def test_names_that_are_not_utf8_are_mirrored_also_as_the_default_branch(upstream, url, bring, repository):
    name = os.fsdecode(b"refs/heads/gr\xf6\xdfe")
    point(upstream.path, name)
    git(upstream.path, "symbolic-ref", "HEAD", name)

    bring(url)
    bring(url)

    assert name in refs_of(repository.path)
    assert (repository.path / "HEAD").read_bytes() == b"ref: refs/heads/gr\xf6\xdfe\n"


def test_very_many_new_refs_are_one_file_at_once(upstream, url, bring, repository):
    stream = Stream(Random(1))
    commit = stream.commit("refs/heads/z", files={"z": "z\n"})
    stream.tag("z", commit)
    fast_import.feed(upstream.path, stream)
    oid, tagged = git(upstream.path, "rev-parse", "z^0", "refs/tags/z").split()
    lines = [f"{oid} refs/heads/b/{number:05}\n" for number in range(20_000)]
    (upstream.path / "packed-refs").write_text("".join([*lines, f"{tagged} refs/tags/z\n"]))

    began = time.monotonic()
    bring(url)

    assert refs_of(repository.path) == heads_and_tags(upstream.path)
    assert loose_refs(repository.path) == []
    # As git writes it: readers need not open a tag to say what it leads to.
    head, *_, peeled = repository.packed_refs.read_text().splitlines()
    assert (head, peeled) == ("# pack-refs with: peeled fully-peeled sorted ", f"^{oid}")
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["refs/heads/x", "refs/heads/x/y"], "refs/heads/x/y beside a ref"),
        (["refs/heads/" + "n" * 256], "too long"),
        (["refs/heads/" + "n/" * 1_000 + "n"], "too long"),
    ],
)
def test_a_list_of_refs_that_no_repository_can_hold_changes_nothing(names, said, upstream, bring, repository):
    lines = [b" HEAD", *(b" " + name.encode() for name in names)]
    deed = hostile.advertising(upstream.path, lambda head: [head.encode() + line for line in lines])
    server = HostileServer({"x": deed}, addresses=[("127.0.0.1", 0)], note=lambda *_, **__: None)
    with server, pytest.raises(GitError) as failure:
        bring(f"http://127.0.0.1:{server.port}/x/x.git")

    assert failure.value.outcome is Outcome.TRANSIENT
    assert said in failure.value.detail
    assert refs_of(repository.path) == {}


def test_names_that_git_does_not_allow_are_left_out(upstream, bring, repository):
    names = [
        "HEAD",
        "refs/heads/../../x",
        "refs/heads/a.lock",
        "refs/heads/@{1}",
        "refs/heads/ok",
    ]
    deed = hostile.advertising(upstream.path, lambda head: [f"{head} {name}".encode() for name in names])
    with HostileServer({"x": deed}, addresses=[("127.0.0.1", 0)], note=lambda *_, **__: None) as server:
        bring(f"http://127.0.0.1:{server.port}/x/x.git")

    assert list(refs_of(repository.path)) == ["refs/heads/ok"]


def test_an_upstream_that_moves_between_listing_and_fetching_is_listed_again(upstream, bring, repository):
    """By the old protocol a server gives only what it lists itself at that moment."""
    honest = hostile.serve(upstream.path)
    listings = []

    def moving(exchange):
        if exchange.is_handshake:
            listings.append(exchange.path)
        if len(listings) == 2:
            repositories.push_commits(upstream, seed=3, kind="force")
            listings.append("pushed")
        del exchange.headers["Git-Protocol"]
        honest(exchange)

    with HostileServer({"x": moving}, addresses=[("127.0.0.1", 0)], note=lambda *_, **__: None) as server:
        bring(f"http://127.0.0.1:{server.port}/x/x.git")

    assert "pushed" in listings
    assert refs_of(repository.path) == heads_and_tags(upstream.path)


# -- object formats -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probes", [False, True], ids=["by git", "in process"])
def test_an_upstream_of_sha256_is_mirrored(git_server, bring, repository, tmp_path, probes):
    path = make_bare(tmp_path / "wide.git", "sha256", 3)
    url = git_server.add("wide", path)

    assert bring(url, probes=probes).outcome is Outcome.CHANGED
    commit(path, "refs/heads/main", "another")
    assert bring(url, probes=probes).outcome is Outcome.CHANGED

    assert refs_of(repository.path) == heads_and_tags(path)
    git(repository.path, "fsck", "--strict")
    git(tmp_path, "clone", "--quiet", str(repository.path), str(tmp_path / "clone"))


@pytest.mark.parametrize("probes", [False, True], ids=["by git", "in process"])
@pytest.mark.parametrize("formats", [("sha1", "sha256"), ("sha256", "sha1")], ids=str)
def test_the_first_commit_of_an_upstream_decides_of_its_object_format(
    git_server, bring, repository, tmp_path, formats, probes
):
    """Git cannot tell of an empty one, and it may be made anew in another."""
    path = tmp_path / "x.git"
    url = git_server.add("x", make_bare(path, formats[0], 0))
    bring(url, probes=probes)
    shutil.rmtree(path)
    make_bare(path, formats[1], 3)

    assert bring(url, probes=probes).outcome is Outcome.CHANGED

    assert refs_of(repository.path) == heads_and_tags(path)
    git(repository.path, "fsck", "--strict")


@pytest.mark.parametrize("afresh", [False, True])
def test_an_upstream_in_another_object_format_changes_nothing_where_refs_are_here(
    git_server, bring, repository, tmp_path, afresh
):
    path = make_bare(tmp_path / "x.git", "sha1", 3)
    url = git_server.add("x", path)
    bring(url)
    before = heads_and_tags(path)
    shutil.rmtree(path)
    make_bare(path, "sha256", 3)

    with pytest.raises(GitError, match="which is no SHA-1"):
        bring(url, afresh=afresh)

    assert refs_of(repository.path) == before


def test_readers_understand_a_repository_at_each_step_to_another_object_format(
    git_server, bring, repository, tmp_path, monkeypatch
):
    path, rename, seen = make_bare(tmp_path / "wide.git", "sha256", 3), os.rename, []
    url = git_server.add("wide", path)

    def then_read(source, target):
        rename(source, target)
        if Path(target).parent == repository.path:
            seen.append(refs_of(repository.path))

    monkeypatch.setattr(os, "rename", then_read)
    bring(url)

    assert seen == [{}, heads_and_tags(path)]


# -- empty ----------------------------------------------------------------------------------------------------------


def test_an_empty_upstream_is_a_fresh_empty_mirror(make_upstream, git_server, bring, repository, tmp_path):
    url = serve(git_server, make_upstream("empty"))

    fetched = [bring(url), bring(url)]

    assert [each.outcome for each in fetched] == [Outcome.UNCHANGED, Outcome.UNCHANGED]
    assert refs_of(repository.path) == {}
    git(tmp_path, "clone", "--quiet", str(repository.path), str(tmp_path / "clone"))


def test_an_empty_upstream_that_gets_its_first_commit_is_followed(
    make_upstream, git_server, bring, repository
):
    upstream = make_upstream("empty")
    url = serve(git_server, upstream)
    bring(url)
    repositories.push_commits(upstream, seed=1)

    assert bring(url).outcome is Outcome.CHANGED
    assert refs_of(repository.path) == heads_and_tags(upstream.path)


def test_an_upstream_that_lists_nothing_although_it_had_refs_empties_no_mirror(
    upstream, url, make_upstream, git_server, bring, repository
):
    bring(url)
    before = refs_of(repository.path)
    git_server.add(upstream.name, make_upstream("empty").path)

    with pytest.raises(GitError) as caught:
        bring(url)

    assert caught.value.outcome is Outcome.EMPTIED
    assert refs_of(repository.path) == before != {}


def test_refs_that_are_all_deselected_are_no_emptied_upstream(upstream, url, bring, repository):
    bring(url)

    fetched = bring(url, refspecs=["+refs/heads/none/*:refs/heads/none/*"])

    assert fetched.outcome is Outcome.CHANGED
    assert refs_of(repository.path) == {}


# -- what is left on disk -------------------------------------------------------------------------------------------


def test_nothing_is_left_of_the_staging_of_an_import_that_worked_or_failed(
    upstream, url, git_server, bring, repository
):
    bring(url)
    git_server.behave(upstream.name, "gone")
    with pytest.raises(GitError):
        bring(url)

    assert list((repository.path / "incoming").iterdir()) == []
    assert [path.name for path in repository.path.parent.iterdir()] == [repository.path.name]


def test_objects_come_as_packs_with_an_index_each_and_nothing_temporary(upstream, url, bring, repository):
    bring(url)
    repositories.push_commits(upstream, seed=3)
    bring(url)

    names = sorted(path.name for path in (repository.objects / "pack").iterdir())

    assert {Path(name).suffix for name in names} <= {".pack", ".idx", ".rev"}
    assert len([name for name in names if name.endswith(".pack")]) == 2
    assert len([name for name in names if name.endswith(".idx")]) == 2


def test_a_mirror_can_be_cloned(make_upstream, git_server, bring, repository, tmp_path):
    upstream = make_upstream("merges")
    bring(serve(git_server, upstream))

    git(tmp_path, "clone", "--quiet", "--mirror", str(repository.path), str(tmp_path / "clone.git"))

    assert refs_of(tmp_path / "clone.git") == heads_and_tags(upstream.path)


def test_a_repository_is_made_once_and_is_whole(repository):
    for _ in range(2):
        repository.make(stop=StopHandle())

    assert repository.exists()
    assert git(repository.path, "rev-parse", "--is-bare-repository") == "true\n"
    assert repository.path.parent.stat().st_mode & 0o077 == 0


def test_a_repository_that_cannot_be_made_leaves_nothing(repository):
    stop = StopHandle()
    stop.stop(Stopped(Outcome.CANCELED, "paused"))

    with pytest.raises(GitError):
        repository.make(stop=stop)

    assert not repository.exists()
    assert list(repository.path.parent.iterdir()) == []


def test_what_a_killed_worker_left_half_made_is_cleared_away(repository):
    leftover = repository.path.with_name(f".{repository.path.name}.12345678")
    leftover.mkdir(parents=True)

    repository.make(stop=StopHandle())

    assert not leftover.exists()


def test_the_settings_of_the_machine_do_not_reach_git(
    upstream, url, bring, repository, monkeypatch, tmp_path
):
    (tmp_path / ".gitconfig").write_text('[url "http://127.0.0.1:1/"]\n\tinsteadOf = http://\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / ".gitconfig"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")

    bring(url)

    monkeypatch.undo()
    assert refs_of(repository.path) == heads_and_tags(upstream.path)


def test_no_hook_of_the_mirror_runs(upstream, url, bring, repository, tmp_path):
    bring(url)
    hook = repository.path / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    repositories.push_commits(upstream, seed=2)

    bring(url)

    assert not (tmp_path / "ran").exists()
    assert fast_import.run(repository.path, "rev-parse", "main")
