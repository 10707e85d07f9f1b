"""Real git clones from a real server process."""

import os
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mirroring.stack import children
from tests.lab.repositories import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database]


def refs_of(git, repository: object) -> list[str]:
    """Return the heads and tags of a repository, as git lists them."""
    listed = git("ls-remote", "--heads", "--tags", "--", repository).stdout
    return sorted(listed.splitlines())


@pytest.fixture
def heavy(tmp_path: Path) -> Upstream:
    """An upstream of 24 MB that cannot be packed any smaller."""
    path = tmp_path / "heavy.git"
    work = tmp_path / "work"
    work.mkdir()
    (work / "noise").write_bytes(os.urandom(24 * 1024 * 1024))
    who = ["-c", "user.name=Lab", "-c", "user.email=lab@example.org", "-c", "core.compression=0"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Noise"]):
        subprocess.run(["git", *who, *words], cwd=work, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", "--", work, path], check=True)
    return Upstream("heavy", path, shape="heavy", default_branch="main", heads=1, tags=0, pulls=0)


def processes_on(repository: Path) -> list[str]:
    lines = [children.command_line(int(entry.name)) for entry in Path("/proc").glob("[0-9]*")]
    return [line for line in lines if str(repository) in line]


@pytest.mark.parametrize(("version", "shape"), [(0, "tags"), (1, "plain"), (2, "trunk"), (2, "plain")])
def test_a_clone_has_the_branches_and_tags_of_the_upstream(
    version, shape, web, mirrored, make_upstream, git, tmp_path
):
    upstream = make_upstream(shape)
    mirrored(upstream)

    git(
        "-c",
        f"protocol.version={version}",
        "clone",
        "--mirror",
        "-q",
        web.git("default/project"),
        tmp_path / "copy",
    )

    assert refs_of(git, tmp_path / "copy") == refs_of(git, upstream.path)
    head = git("--git-dir", tmp_path / "copy", "symbolic-ref", "HEAD").stdout.strip()
    assert head == f"refs/heads/{upstream.default_branch}"


def test_pull_requests_of_the_upstream_are_not_served(web, mirrored, make_upstream, git):
    upstream = make_upstream("pulls")
    mirrored(upstream)

    listed = git("ls-remote", web.git("default/project")).stdout

    assert upstream.pulls > 0
    assert "refs/heads/" in listed
    assert "refs/pull/" not in listed


def test_an_empty_mirror_can_be_cloned(web, mirrored, make_upstream, git, tmp_path):
    mirrored(make_upstream("empty"))

    done = git("clone", web.git("default/project"), tmp_path / "copy")

    assert "empty repository" in done.stderr


@pytest.mark.parametrize("version", [0, 2])
def test_a_shallow_clone_can_be_deepened(version, web, mirrored, make_upstream, git, tmp_path):
    upstream = make_upstream("merges")
    mirrored(upstream)
    options = ["-c", f"protocol.version={version}"]

    git(
        *options,
        "clone",
        "-q",
        "--depth",
        1,
        "--no-single-branch",
        web.git("default/project"),
        tmp_path / "copy",
    )
    shallow = git("-C", tmp_path / "copy", "rev-list", "--count", "--all").stdout
    git("-C", tmp_path / "copy", *options, "fetch", "-q", "--unshallow")

    commits = git("-C", tmp_path / "copy", "rev-list", "--count", "--all").stdout
    assert int(shallow) < int(commits)
    assert commits == git("--git-dir", upstream.path, "rev-list", "--count", "--branches", "--tags").stdout


def test_a_partial_clone_leaves_the_files_out(web, mirrored, make_upstream, git, tmp_path):
    mirrored(make_upstream("plain"))

    git("clone", "-q", "--bare", "--filter=blob:none", web.git("default/project"), tmp_path / "copy")

    kinds = git("--git-dir", tmp_path / "copy", "cat-file", "--batch-all-objects", "--batch-check").stdout
    assert " commit " in kinds
    assert " blob " not in kinds


@pytest.mark.parametrize("version", [0, 2])
def test_a_big_mirror_with_a_thousand_refs_is_cloned_whole(
    version, web, mirrored, make_upstream, git, tmp_path
):
    upstream = make_upstream("big")
    mirrored(upstream)

    git(
        "-c",
        f"protocol.version={version}",
        "clone",
        "--mirror",
        "-q",
        web.git("default/project"),
        tmp_path / "copy",
    )

    assert refs_of(git, tmp_path / "copy") == refs_of(git, upstream.path)
    git("--git-dir", tmp_path / "copy", "fsck", "--connectivity-only")


def test_a_paused_mirror_is_served_and_a_removed_one_is_not(web, mirrored, make_upstream, git):
    from mirroring.catalog import acting, removing
    from mirroring.tracker.connection import present

    mirror = mirrored(make_upstream("plain"))

    acting.pause(mirror, now=present(), reason="holidays")
    assert "refs/heads/main" in git("ls-remote", web.git("default/project")).stdout

    removing.remove(mirror, now=present())
    gone = git("ls-remote", web.git("default/project"), check=False)
    assert gone.returncode == 128
    assert "There is no mirror default/project" in gone.stderr


def test_git_ends_when_its_client_has_gone(web, mirrored, heavy):
    mirror = mirrored(heavy)
    tip = subprocess.run(
        ["git", "--git-dir", heavy.path, "rev-parse", "main"], check=True, capture_output=True, text=True
    ).stdout.strip()
    body = f"0032want {tip}\n00000009done\n".encode()
    head = (
        "POST /git/default/project.git/git-upload-pack HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/x-git-upload-pack-request\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", urlsplit(web.url).port))
    client.sendall(head.encode() + body)
    assert client.recv(4096).startswith(b"HTTP/1.1 200")
    assert processes_on(mirror.repository)

    client.close()

    deadline = time.monotonic() + 10
    while processes_on(mirror.repository) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_on(mirror.repository) == []
