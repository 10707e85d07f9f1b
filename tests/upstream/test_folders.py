"""Deleting what an upstream made us write."""

import os
import subprocess
from contextlib import suppress

import pytest

from mirroring.upstream.disk import folders
from tests.lab import hostile
from tests.making import loose_refs


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path):
    """Delete what a failed test left: pytest's own cleaning, of this and of later runs, would fail at its depth."""
    yield
    subprocess.run(["rm", "-rf", str(tmp_path)], check=True)


def deep(root, levels):
    """Make a folder too deep for one path to name."""
    here = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("n", dir_fd=here)
        below = os.open("n", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    return root


@pytest.mark.parametrize("levels", [0, 3, 5_000])
def test_a_folder_of_any_depth_is_deleted(tmp_path, levels):
    (tmp_path / "top" / "beside").mkdir(parents=True)
    (tmp_path / "top" / "beside" / "file").touch()

    folders.remove(deep(tmp_path / "top", levels))

    assert list(tmp_path.iterdir()) == []


def test_links_are_deleted_and_not_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("precious")
    (tmp_path / "top" / "below").mkdir(parents=True)
    (tmp_path / "top" / "folder").symlink_to(kept)
    (tmp_path / "top" / "below" / "file").symlink_to(kept / "file")

    folders.remove(tmp_path / "top")

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").read_text() == "precious"


def test_what_is_not_there_is_no_error(tmp_path):
    folders.remove(tmp_path / "nothing")
    (tmp_path / "file").touch()
    folders.remove(tmp_path / "file")

    assert (tmp_path / "file").exists()


def test_a_ref_name_of_thousands_of_parts_leaves_nothing_behind(make_upstream, bring, repository):
    from mirroring.upstream.errors import GitError

    path = make_upstream().path
    name = b"refs/heads/" + b"n/" * 1_900 + b"x"
    deed = hostile.advertising(path, lambda head: [head.encode() + b" HEAD", head.encode() + b" " + name])
    server = hostile.HostileServer({"deep": deed}, addresses=[("127.0.0.1", 0)], note=lambda *_, **__: None)
    with server:
        for _ in range(2):
            with suppress(GitError):
                bring(f"http://127.0.0.1:{server.port}/deep/x.git")

    assert loose_refs(repository.path) == []
    assert list((repository.path / "incoming").iterdir()) == []
