"""What was seen of one mirror's host spares the others of it the tries that fail, and no other host's."""

import json

import pytest

from mirroring.upstream.client import probe
from mirroring.upstream.client.probe import Way
from mirroring.upstream.transfer import relisting, ways
from tests.making import state_of
from tests.probe.round_trip import RoundTrip


@pytest.fixture
def shop(fleet, repositories_folder, git_server, make_upstream, request_log):
    made = RoundTrip(fleet, git_server, make_upstream("plain"))
    made.asked = lambda: _requests(request_log)
    return made


def _requests(log):
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return sum(line.get("event") == "start" for line in lines)


@pytest.fixture
def only_git_can(monkeypatch):
    """Have every listing be too long for this process."""
    with monkeypatch.context() as patch:
        patch.setattr(probe, "KEPT_BYTES", 10)
        patch.setattr(relisting, "KEPT_BYTES", 10)
        yield patch


def import_one(shop):
    before = shop.asked()
    mirror = shop.imported()
    return mirror, shop.asked() - before


def test_after_some_failures_at_a_host_new_mirrors_of_it_go_to_git_at_once(shop, only_git_can):
    first = [import_one(shop) for _ in range(ways.FAILURES_IN_A_ROW)]
    mirror, asked = import_one(shop)
    assert {state_of(each).listed_way for each, _ in first} == {Way.GIT}
    assert state_of(mirror).listed_way == Way.GIT
    assert asked < min(number for _, number in first)


def test_it_is_tried_again_when_that_is_forgotten(shop, only_git_can, monkeypatch):
    for _ in range(ways.FAILURES_IN_A_ROW):
        import_one(shop)
    only_git_can.undo()
    assert state_of(import_one(shop)[0]).listed_way == Way.GIT
    monkeypatch.setattr(ways, "REMEMBERED_SECONDS", 0.0)
    assert state_of(import_one(shop)[0]).listed_way == Way.V2_SHA1


def test_a_mirror_that_was_listed_in_process_is_so_again_whatever_its_host_is_said_to_be(shop):
    mirror, _ = import_one(shop)
    ways.WAYS_OF_HOSTS.__init__()
    origin = _origin(mirror)
    for _ in range(ways.FAILURES_IN_A_ROW):
        ways.WAYS_OF_HOSTS.failed(origin)
    assert ways.WAYS_OF_HOSTS.of(origin) is Way.GIT
    _again(shop, mirror)
    assert state_of(mirror).listed_way == Way.V2_SHA1
    assert ways.WAYS_OF_HOSTS.of(origin) is Way.V2_SHA1


def test_one_odd_repository_does_not_speak_for_its_host(shop):
    mirror, _ = import_one(shop)
    for _ in range(ways.FAILURES_IN_A_ROW):
        ways.WAYS_OF_HOSTS.failed(_origin(mirror))
    assert ways.WAYS_OF_HOSTS.of(_origin(mirror)) is Way.V2_SHA1


def test_a_new_mirror_is_asked_as_others_of_its_host_without_a_handshake(shop):
    _, first = import_one(shop)
    mirror, second = import_one(shop)
    assert state_of(mirror).listed_way == Way.V2_SHA1
    assert second == first - 1


def _origin(mirror):
    from mirroring.upstream.access import contact

    return contact.to(mirror.url, route_to=contact.direct).origin


def _again(shop, mirror):
    from mirroring.models import ImportState

    ImportState.objects.update(check_due_at=None, import_due_at=shop.fleet.tracker.now())
    shop.import_again(mirror)
