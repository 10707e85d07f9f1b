import pytest

from tests.lab.fixtures import git_server, make_upstream, request_log  # noqa: F401
from tests.making import (  # noqa: F401
    configure,
    lost_tracker,
    make_mirror,
    new_tracker,
    repositories_folder,
    tracker,
)


@pytest.fixture
def desk(tracker, configure):  # noqa: F811
    """Runs of the dispatcher with a ready tracker of a hundred slots, and pauses of no length."""
    from tests.scheduler.desk import Desk

    configure(reschedule_wait_seconds=0, mirror_host_share_percent=100)
    return Desk(tracker)


@pytest.fixture
def works(db, tracker, repositories_folder, make_upstream, git_server):  # noqa: F811
    """Imports run by hand, of one upstream on a real server."""
    from tests.scheduler.workshop import Works

    upstream = make_upstream("plain")
    return Works(tracker, upstream, git_server, git_server.add(upstream.name, upstream.path))
