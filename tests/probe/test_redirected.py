"""Checks of upstreams that redirect: followed within their host, as imports do it; else imported each time."""

import pytest

from mirroring.upstream.client.probe import Way
from tests.lab.repositories import push_commits
from tests.making import heads_and_tags, state_of


@pytest.fixture
def round_trip(fleet, repositories_folder, git_server, make_upstream):
    from tests.probe.round_trip import RoundTrip

    made = RoundTrip(fleet, git_server, make_upstream("plain"))
    made.server.add("here", made.upstream.path)
    return made


def redirected(round_trip, to, *, code=301):
    return round_trip.server.add("old", round_trip.upstream.path, behaviour=f"moved:{code}:{to}")


@pytest.mark.parametrize("code", [301, 302])
def test_a_mirror_whose_upstream_redirects_within_its_host_is_checked_as_others_are(round_trip, code):
    mirror = round_trip.imported(
        url=redirected(round_trip, round_trip.server.url_of("here"), code=code).removesuffix(".git")
    )
    assert state_of(mirror).listed_way == Way.GIT
    assert round_trip.checked(mirror)["unchanged"] == 1

    push_commits(round_trip.upstream, seed=5, kind="commit")

    assert round_trip.checked(mirror)["changed"] == 1
    round_trip.import_again(mirror)
    assert heads_and_tags(mirror.repository) == heads_and_tags(round_trip.upstream.path)
    assert round_trip.checked(mirror)["unchanged"] == 1


def test_one_that_redirects_to_another_host_is_imported_each_time(round_trip, other):
    mirror = round_trip.imported(url=redirected(round_trip, other.add("x", round_trip.upstream.path)))

    assert heads_and_tags(mirror.repository) == heads_and_tags(round_trip.upstream.path)
    state = state_of(mirror)
    assert (state.upstream_digest, state.check_due_at) == (None, None)
    assert state.import_due_at is not None


def test_a_check_follows_to_no_other_host(round_trip, other):
    mirror = round_trip.imported(url=redirected(round_trip, round_trip.server.url_of("here")))
    redirected(round_trip, other.add("x", round_trip.upstream.path))

    counted = round_trip.checked(mirror)

    assert counted["doubtful: blocked"] == 1, counted
    assert state_of(mirror).import_due_at is not None
    assert other.requests() == 0
