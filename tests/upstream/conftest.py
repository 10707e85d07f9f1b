import os
import shutil
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from mirroring.upstream.git import confinement
from tests.lab import fast_import
from tests.lab.fast_import import Stream
from tests.lab.fixtures import git_server, make_upstream, other, request_log, upstream, url  # noqa: F401

DEFAULT = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
EVERYTHING = ("+refs/*:refs/*",)


@pytest.fixture
def repository(tmp_path: Path):
    """A repository that has not been made yet."""
    from mirroring.upstream.disk.repository import Repository

    return Repository(tmp_path / "ab" / "cd" / f"{'abcd' * 8}.git")


@pytest.fixture
def bring(repository) -> Callable[..., object]:
    """Return a function that imports from a URL into `repository`, each time under a higher epoch."""
    from mirroring.upstream.access.contact import Route
    from mirroring.upstream.fetch import fetch
    from mirroring.upstream.git.bounds import NO_BOUNDS
    from mirroring.upstream.git.process import StopHandle
    from mirroring.upstream.transfer.session import Order

    epochs = iter(range(1, 10_000))

    def bring_in(
        source,
        *,
        refspecs=DEFAULT,
        seconds=30.0,
        still_ours=lambda: True,
        stop=None,
        epoch=None,
        secret=None,
        routes=None,
        limits=NO_BOUNDS,
        afresh=False,
        keeps_branches=False,
        probes=False,
        way="",
    ):
        order = Order(
            repository=repository,
            url=source,
            refspecs=refspecs,
            epoch=epoch or next(epochs),
            timeout=timedelta(seconds=seconds),
            secret=secret,
            bounds=limits,
            afresh=afresh,
            keeps_branches=keeps_branches,
            probes=probes,
            way=way,
            route_to=lambda host: (routes or {}).get(host, Route()),
        )
        return fetch(order, still_ours=still_ours, stop=stop or StopHandle())

    return bring_in


@pytest.fixture
def names(monkeypatch):
    """Let DNS know these names; a list is used up, an answer each time."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def look_up(host, port, *args, **kwargs):
        if host not in known:
            return real(host, port, *args, **kwargs)
        answers = known[host]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        addresses = [answer] if isinstance(answer, str) else answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


@pytest.fixture(params=["confined", "unconfined"])
def tie(request, tmp_path, monkeypatch):
    """Run the test with git tied to us by the kernel, and again on a machine that has no tools for that."""
    confinement.spaces.cache_clear()
    if request.param == "unconfined":
        bare = tmp_path / "bin"
        bare.mkdir()
        for tool in ("git", "sh", "sleep", "yes", "env", "cat", "true"):
            (bare / tool).symlink_to(os.path.realpath(shutil.which(tool)))
        monkeypatch.setenv("PATH", str(bare))
        assert confinement.spaces() is None
    elif "unshare" not in confinement.prefix():
        pytest.skip("this machine allows no PID name space")
    yield request.param
    monkeypatch.undo()
    confinement.spaces.cache_clear()


@pytest.fixture
def heavy(tmp_path):
    """An upstream whose one commit takes two megabytes."""
    stream = Stream(Random(1))
    stream.commit("refs/heads/main", files={"data": Random(1).randbytes(2_000_000)})
    path = tmp_path / "heavy.git"
    fast_import.make_bare(path, head="main")
    fast_import.feed(path, stream)
    return path
