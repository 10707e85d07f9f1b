"""An old git cannot pin addresses: that is said at the start."""

from pathlib import Path

import pytest

from mirroring.upstream.git import git_version

pytestmark = pytest.mark.one_database


@pytest.fixture
def claims(tmp_path, settings):
    """Return a function that puts a git in place which says that it is some version."""

    def put(version):
        settings.GIT = str(tmp_path / "git")
        (tmp_path / "git").write_text(f"#!/bin/sh\necho git version {version}\n")
        (tmp_path / "git").chmod(0o755)

    return put


@pytest.mark.parametrize("version", ["2.43.7", "2.50.1", "2.51.0.windows.1", "2.60", "3.0"])
def test_a_git_that_pins_is_good(claims, version):
    claims(version)
    assert git_version.complaint() == ""


@pytest.mark.parametrize("version", ["2.37.0", "2.39.5", "2.42.9", "2.43.6", "2.49", "2.50.0"])
def test_a_git_with_known_holes_is_told_unless_the_distribution_mends_it(
    claims, version, settings, monkeypatch
):
    claims(version)
    assert "install 2.50.1 or later" in git_version.complaint()

    monkeypatch.setattr(git_version, "PACKAGED_AT", Path(settings.GIT))
    monkeypatch.setattr(git_version, "PACKAGE_LISTS", (settings.GIT,))
    assert git_version.complaint() == ""


@pytest.mark.parametrize("version", ["1.9.1", "2.9.5", "2.36.9"])
def test_an_older_git_is_told_at_the_start(claims, version):
    claims(version)
    assert "install 2.37 or later" in git_version.complaint()


def test_no_git_is_told_too(settings):
    settings.GIT = "/nonexistent/git"
    assert "set MIRRORING_GIT" in git_version.complaint()
