"""Fetches of little, which need no `git fetch`: what is asked, what is refused, and what is left to git."""

import json
import subprocess
import threading
from random import Random

import pytest

from mirroring.rules.outcomes import Outcome
from mirroring.upstream.client.protocol import BadAnswer, ObjectFormat, packet
from mirroring.upstream.errors import GitError
from mirroring.upstream.git.bounds import Bounds
from mirroring.upstream.git.process import StopHandle, Stopped
from mirroring.upstream.transfer import small
from tests.lab import fast_import
from tests.lab.fast_import import ENVIRONMENT, Stream
from tests.lab.repositories import push_commits
from tests.making import git, heads_and_tags

IN_PROCESS = ["refs", "ls-refs", "fetch"]
BY_GIT = ["refs", "fetch"]
"""What `git fetch` asks, told what it is to bring."""


@pytest.fixture
def upstream(make_upstream):
    return make_upstream("plain")


@pytest.fixture
def mirrored(upstream, git_server, bring):
    """Import once, and return a function that imports again."""
    url = git_server.add(upstream.name, upstream.path)
    bring(url)
    return lambda **order: bring(url, **{"probes": True, **order})


@pytest.fixture
def asked(mirrored, request_log):
    """Return what has been asked of the server since the first import."""
    before = len(request_log.read_text().splitlines())

    def ask():
        lines = [json.loads(line) for line in request_log.read_text().splitlines()[before:]]
        return [line["kind"] for line in lines if line["event"] == "start"]

    return ask


def plant(path, kind, content):
    """Write an object that git would not make."""
    done = subprocess.run(
        ["git", f"--git-dir={path}", "hash-object", "-t", kind, "-w", "--stdin", "--literally"],
        input=content,
        env=ENVIRONMENT,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().strip()


def copy(source, target, oids):
    """Copy single objects."""
    said = {"input": "\n".join(oids).encode(), "env": ENVIRONMENT, "check": True, "capture_output": True}
    packed = subprocess.run(["git", f"--git-dir={source}", "pack-objects", "--stdout", "-q"], **said).stdout
    subprocess.run(["git", f"--git-dir={target}", "unpack-objects", "-q"], **{**said, "input": packed})


def test_one_request_brings_what_is_new(upstream, mirrored, asked, repository):
    push_commits(upstream, seed=1, kind="commit")
    push_commits(upstream, seed=1, kind="tag")

    mirrored()

    assert asked() == IN_PROCESS
    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)
    git(repository.path, "fsck", "--strict")


def test_a_branch_that_leads_to_a_tag_is_peeled_as_git_does(upstream, mirrored, repository):
    """No git makes one; one that is told to by hand serves it, and readers are told what it leads to."""
    commit = git(upstream.path, "rev-parse", "HEAD").strip()
    tag = f"object {commit}\ntype commit\ntag odd\ntagger A <a@example.org> 0 +0000\n\nodd\n"
    (upstream.path / "refs/heads/odd").write_text(plant(upstream.path, "tag", tag.encode()) + "\n")

    mirrored()

    assert "refs/heads/odd\n^" in (repository.path / "packed-refs").read_text()


@pytest.mark.parametrize("bound", ["LARGEST", "MOST", "SECONDS"])
def test_what_is_more_than_little_is_left_to_git(bound, upstream, mirrored, asked, repository, monkeypatch):
    monkeypatch.setattr(small, bound, 0)
    push_commits(upstream, seed=1, kind="commit")

    mirrored()

    assert asked()[-2:] == BY_GIT
    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)


def test_without_a_listing_in_process_git_fetches(upstream, mirrored, asked, repository):
    push_commits(upstream, seed=1, kind="commit")

    mirrored(probes=False)

    assert asked()[-2:] == BY_GIT
    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)


def test_an_object_that_git_would_not_take_is_not_taken(upstream, mirrored, repository):
    """A tree that hides a `.git`, as who clones it would not like."""
    before = heads_and_tags(repository.path)
    blob = plant(upstream.path, "blob", b"[core]\n\tsshCommand = x\n")
    tree = plant(upstream.path, "tree", b"100644 .git\0" + bytes.fromhex(blob))
    who = b"A <a@lab.example> 1700000000 +0000"
    commit = plant(
        upstream.path, "commit", b"tree %b\nauthor %b\ncommitter %b\n\nx\n" % (tree.encode(), who, who)
    )
    git(upstream.path, "update-ref", "refs/heads/bad", commit)

    with pytest.raises(GitError) as failed:
        mirrored()

    assert "hasDotgit" in failed.value.detail
    assert heads_and_tags(repository.path) == before


def test_faults_that_old_and_honest_histories_have_are_taken(upstream, mirrored, asked, repository):
    tree = git(upstream.path, "rev-parse", "main^{tree}").strip().encode()
    who = b"A <a@lab.example> 1700000000 +051800"
    commit = plant(upstream.path, "commit", b"tree %b\nauthor %b\ncommitter %b\n\nx\n" % (tree, who, who))
    git(upstream.path, "update-ref", "refs/heads/old", commit)

    mirrored()

    assert asked() == IN_PROCESS
    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)


def test_a_server_that_leaves_out_what_is_not_here_is_not_believed(
    upstream, mirrored, asked, repository, monkeypatch
):
    """It builds on a commit that lies here by chance, without what that is made of."""
    old = git(upstream.path, "rev-parse", "main").strip()
    for seed in range(3):
        push_commits(upstream, seed=seed, kind="commit")
    lost, middle = (git(upstream.path, "rev-parse", f"main~{back}").strip() for back in (2, 1))
    made = git(upstream.path, "rev-list", "--objects", "--no-object-names", middle, f"^{old}").split()
    copy(upstream.path, repository.path, [oid for oid in made if oid != lost])
    request = small.request
    monkeypatch.setattr(
        small, "request", lambda missing, *, known, **kind: request(missing, known={*known, middle}, **kind)
    )

    mirrored()

    assert asked()[-2:] == BY_GIT
    assert heads_and_tags(repository.path) == heads_and_tags(upstream.path)
    git(repository.path, "fsck", "--strict")


def test_a_pack_beyond_the_bound_of_the_repository_is_refused(upstream, mirrored, repository):
    stream = Stream(Random(1))
    stream.commit(
        "refs/heads/large", files={"data": Random(1).randbytes(800_000)}, parents=("refs/heads/main^0",)
    )
    fast_import.feed(upstream.path, stream)
    held = sum(file.stat().st_size for file in repository.objects.rglob("*") if file.is_file())
    filler = repository.objects / "filler"
    filler.write_bytes(bytes(1024 * 1024 - held - 400_000))

    with pytest.raises(GitError) as failed:
        mirrored(limits=Bounds(repository_mb=1))

    assert failed.value.outcome is Outcome.TOO_BIG


def test_an_import_that_is_stopped_meanwhile_indexes_nothing(
    upstream, mirrored, asked, git_server, repository
):
    before = heads_and_tags(repository.path)
    push_commits(upstream, seed=1, kind="commit")
    git_server.behave(upstream.name, "slow:1")
    stop = StopHandle()
    threading.Timer(2.5, stop.stop, [Stopped(Outcome.CANCELED, "enough")]).start()

    with pytest.raises(GitError) as failed:
        mirrored(stop=stop)

    assert failed.value.outcome is Outcome.CANCELED
    assert asked() == IN_PROCESS
    assert heads_and_tags(repository.path) == before


BEGINNING = packet(b"packfile\n")


def test_the_pack_of_an_answer_is_what_its_first_band_holds():
    answer = BEGINNING + packet(b"\x01PA\n") + packet(b"\x02Counting\n") + packet(b"\x01CK") + b"0000"
    assert small.read_pack(answer) == b"PA\nCK"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"0000",
        BEGINNING,
        packet(b"shallow-info\n") + b"0001" + BEGINNING + packet(b"\x01PACK") + b"0000",
        BEGINNING + packet(b"\x03no\n") + b"0000",
        BEGINNING + b"0004" + b"0000",
        BEGINNING + b"0000" + packet(b"\x01PACK") + b"0000",
        BEGINNING + b"+009\x01PACK" + b"0000",
        BEGINNING + b"00ff\x01PACK" + b"0000",
    ],
)
def test_any_other_answer_is_none(answer):
    with pytest.raises(BadAnswer):
        small.read_pack(answer)


def test_the_request_names_the_format_only_where_a_server_would_not_assume_it():
    said = small.request(["b" * 64], known=["a" * 64], object_format=ObjectFormat.SHA256)
    assert said.startswith(b"0012command=fetch\n0019object-format=sha256\n0001")
    assert b"object-format" not in small.request(["b" * 40], known=[], object_format=ObjectFormat.SHA1)
