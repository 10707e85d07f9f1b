"""A web server of its own, people who sign in, and mirrors that can be cloned."""

import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import database_url
from tests.lab.fixtures import git_server, make_upstream, request_log  # noqa: F401
from tests.lab.http_server import GitServer
from tests.lab.repositories import Upstream
from tests.web.server import WebServer, serve

if TYPE_CHECKING:
    from django.contrib.contenttypes.models import ContentType


@pytest.fixture(autouse=True)
def static_folder(settings):
    """The middleware warns once where there is no such folder, and warnings are errors here."""
    settings.STATIC_ROOT.mkdir(exist_ok=True)


@pytest.fixture(scope="session")
def web_process(django_db_setup, valkey: str, tmp_path_factory) -> Iterator[WebServer]:
    """The web process on our database and Valkey, for all tests of this run."""
    environment = {**os.environ, "DATABASE_URL": database_url()}
    with serve(environment, log=tmp_path_factory.mktemp("web") / "log") as server:
        yield server


@pytest.fixture(scope="session")
def content_types(django_db_setup, django_db_blocker) -> "list[ContentType]":
    """The content types as they are when the first test wants them."""
    from django.apps import apps
    from django.contrib.contenttypes.models import ContentType

    with django_db_blocker.unblock():
        return list(ContentType.objects.get_for_models(*apps.get_models()).values())


@pytest.fixture
def web(web_process: WebServer, content_types: "list[ContentType]", transactional_db) -> WebServer:
    """The web process; what a test commits, it sees."""
    from django.contrib.contenttypes.models import ContentType

    # A test of this kind leaves every table empty, and the other process remembers the ids of this one.
    ContentType.objects.all().delete()
    ContentType.objects.clear_cache()
    ContentType.objects.bulk_create(content_types)
    return web_process


@pytest.fixture
def operator(db):
    """Somebody who may do everything in the admin."""
    from django.contrib.auth.models import User

    return User.objects.create_superuser("operator")


@pytest.fixture
def signed_in(client, operator):
    """Django's own client, signed in as the operator."""
    client.force_login(operator)
    return client


@pytest.fixture
def make_mirror(db) -> Callable[..., object]:
    """Return a function that adds a mirror as people do, due at once and never imported."""
    from mirroring.catalog.adding import add
    from mirroring.catalog.wanted import want
    from mirroring.tracker.connection import present

    def make(path: str = "default/project", url: str = "https://git.example.org/team/project.git"):
        group, _, name = path.partition("/")
        return add(want(url, group=group, name=name), now=present(), wake=lambda: None)

    return make


@pytest.fixture
def mirrored(make_mirror, git_server: GitServer) -> Callable[..., object]:  # noqa: F811  (it is the fixture)
    """Return a function that adds a mirror of an upstream and imports it, git and all."""
    from mirroring.models import ImportState
    from mirroring.rules.outcomes import Outcome
    from mirroring.rules.states import Status
    from mirroring.tracker.connection import present
    from mirroring.upstream.disk.repository import Repository
    from mirroring.upstream.fetch import fetch
    from mirroring.upstream.git.process import StopHandle
    from mirroring.upstream.transfer.session import Order

    def mirror_of(upstream: Upstream, path: str = "default/project"):
        url = git_server.add(upstream.name, upstream.path)
        mirror = make_mirror(path, url)
        repository = Repository(mirror.repository)
        order = Order(repository, url=url, refspecs=mirror.refspecs, epoch=1, timeout=timedelta(seconds=60))
        fetch(order, still_ours=lambda: True, stop=StopHandle())
        success = {"last_successful_update_at": present(), "last_outcome": Outcome.CHANGED}
        ImportState.objects.filter(pk=mirror.pk).update(status=Status.FINISHED, **success)
        return mirror

    return mirror_of


@pytest.fixture
def git(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Return a function that runs git as a person with no configuration does."""

    def run(*arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }
        words = ["git", *(str(argument) for argument in arguments)]
        return subprocess.run(
            words, env=environment, cwd=tmp_path, check=check, capture_output=True, text=True, timeout=60
        )

    return run


@pytest.fixture
def redis_down(settings) -> Iterator[None]:
    """Point this process to a Redis that is not there."""
    from mirroring.tracker.connection import connect

    settings.REDIS_URL = "redis://:secret-password@127.0.0.1:1/0"
    connect.cache_clear()
    yield
    connect.cache_clear()
