"""Fixtures for everybody's tests: `pytest_plugins = ["tests.lab.fixtures"]` in the root conftest.

def test_something(make_upstream, git_server):
    upstream = make_upstream("merges")
    url = git_server.add(upstream.name, upstream.path)
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import repositories
from tests.lab.http_server import GitServer
from tests.lab.repositories import Upstream
from tests.lab.ssh_server import SSHD

needs_sshd = pytest.mark.skipif(
    SSHD is None and not os.environ.get("CI"), reason="no sshd here: install openssh-server"
)
"""For tests that start an SSH server. In CI a missing one is a failure."""


@pytest.fixture
def make_upstream(tmp_path: Path) -> Callable[..., Upstream]:
    """Return a function that makes one bare upstream repository of a shape (default: plain) from a seed."""
    made: list[Upstream] = []

    def make(shape: str = "plain", *, seed: int = 1) -> Upstream:
        made.append(
            repositories.make_upstream(tmp_path / "upstreams", seed=seed, number=len(made), shape=shape)
        )
        return made[-1]

    return make


@pytest.fixture
def request_log(tmp_path: Path) -> Path:
    """The JSON lines that `git_server` writes about each request."""
    return tmp_path / "requests.jsonl"


@pytest.fixture
def git_server(request_log: Path) -> Iterator[GitServer]:
    """A running smart-HTTP server on a free loopback port."""
    with GitServer(log=request_log) as server:
        yield server


@pytest.fixture
def upstream(make_upstream):
    return make_upstream("plain")


@pytest.fixture
def url(git_server, upstream):
    return git_server.add(upstream.name, upstream.path)


@pytest.fixture
def other(tmp_path: Path):
    """Another server: a place where nothing of ours may arrive uninvited."""
    log = tmp_path / "other.jsonl"
    with GitServer(log=log) as server:
        server.requests = lambda: log.read_text().count('"start"') if log.exists() else 0
        yield server
