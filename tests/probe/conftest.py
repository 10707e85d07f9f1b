from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.certificates import Authority
from tests.lab.fixtures import git_server, make_upstream, other, request_log  # noqa: F401
from tests.lab.memory_upstream import MemoryUpstream, Refs
from tests.making import configure, lost_tracker, make_mirror, new_tracker, repositories_folder, tracker  # noqa: F401
from tests.probe.asking import Client


@pytest.fixture
def upstream() -> Iterator[MemoryUpstream]:
    """An upstream that answers from memory, with a repository `a`."""
    with MemoryUpstream() as served:
        served.repositories["a"] = Refs.made("a", count=10)
        yield served


@pytest.fixture
def tls_upstream(authority) -> Iterator[MemoryUpstream]:
    """The same, over TLS, with a certificate for 127.0.0.1 of the private authority."""
    with MemoryUpstream(certificate=authority.certificate("127.0.0.1")) as served:
        served.repositories["a"] = Refs.made("a", count=10)
        yield served


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def client() -> Iterator[Client]:
    """What asks, with connections of its own."""
    made = Client()
    yield made
    made.close()


@pytest.fixture
def bare(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a real bare repository with commits, in an object format."""
    from tests.probe.asking import make_bare

    return lambda object_format="sha1", refs=3: make_bare(
        tmp_path / f"{object_format}-{refs}.git", object_format, refs
    )


@pytest.fixture
def fleet(db, tracker, upstream):  # noqa: F811
    """Mirrors of the memory upstream, with the flag on."""
    from tests.probe.fleet import Fleet

    made = Fleet(tracker, upstream)
    made.flag()
    yield made
    made.close()
