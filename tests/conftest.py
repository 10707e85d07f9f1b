"""Real servers for every test: `pytest --database sqlite|postgresql` chooses the database.

Django is set up in `pytest_configure`, after the conftests are read: a conftest imports models inside its
fixtures, never at its top.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.servers import guard, run

RUN = pytest.StashKey[run.Run]()
DATABASE_URL = pytest.StashKey[str | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="the database that the tests run on (default: sqlite)",
    )


def pytest_configure(config: pytest.Config) -> None:
    from django.conf import settings

    if settings.configured:
        raise pytest.UsageError("Unset DJANGO_SETTINGS_MODULE: the tests choose their own settings.")
    guard.install()
    own = config.stash[RUN] = run.begin()
    database_url = getattr(config, "workerinput", {}).get("database_url")
    if config.getoption("database") == "postgresql" and not database_url:
        database_url = run.start_postgres(own)
    config.stash[DATABASE_URL] = database_url
    if controls_workers(config):
        return
    run.enter(own, database_url=database_url)
    database = settings.DATABASES["default"]  # reads the settings, on which pytest-django sets Django up
    if not database_url:
        # A file, not memory, so that other processes can open it too.
        database.setdefault("TEST", {})["NAME"] = str(own.state / "test.sqlite3")


def controls_workers(config: pytest.Config) -> bool:
    """Tell whether this is xdist's controller, which runs no test itself."""
    return not hasattr(config, "workerinput") and config.getoption("dist", "no") != "no"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["database_url"] = node.config.stash[DATABASE_URL]


def pytest_unconfigure(config: pytest.Config) -> None:
    if RUN in config.stash:
        config.stash[RUN].stop()


def pytest_report_header(config: pytest.Config) -> str:
    return f"database: {config.getoption('database')}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what no choice of database can change on SQLite only."""
    if config.getoption("database") != "sqlite":
        spared = [item for item in items if item.get_closest_marker("one_database")]
        items[:] = [item for item in items if not item.get_closest_marker("one_database")]
        config.hook.pytest_deselected(items=spared)


@pytest.fixture(scope="session")
def valkey(request: pytest.FixtureRequest) -> str:
    """The URL of this process's private Valkey, which is empty when a test begins."""
    server = request.config.stash[RUN].server
    assert server is not None
    return server.url


@pytest.fixture(scope="session")
def redis_client(valkey: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey) as client:
        yield client


@pytest.fixture(autouse=True)
def empty_valkey(redis_client: redis.Redis) -> None:
    redis_client.flushall()


@pytest.fixture(autouse=True)
def nothing_seen_of_hosts() -> None:
    """Ports come back with other servers behind them, and what was seen of one is remembered for an hour."""
    if loaded := sys.modules.get("mirroring.upstream.transfer.ways"):
        loaded.WAYS_OF_HOSTS.__init__()


@pytest.fixture(scope="session")
def state_folder(request: pytest.FixtureRequest) -> Path:
    """MIRRORING_STATE of this test process."""
    return request.config.stash[RUN].state


@pytest.fixture
def child_environment(valkey: str, state_folder: Path) -> Callable[..., dict[str, str]]:
    """Return a function that builds the environment of a process which shares our database and Valkey.

    The test needs `django_db(transaction=True)`, or the other process sees none of its rows.
    """

    def build(**changes: str) -> dict[str, str]:
        return {**os.environ, "DATABASE_URL": database_url(), **changes}

    return build


def database_url() -> str:
    """Return the URL of the test database as it is named now."""
    from django.db import connection

    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{values['NAME']}"
    return "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format_map(values)
