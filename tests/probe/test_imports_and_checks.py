"""From import to check and back: what an import learns, and what a check makes of it."""

from datetime import timedelta

import pytest

from mirroring.models import ImportState, Mirror
from mirroring.models.checks import CHECKS_OVERDUE
from mirroring.scheduler import explain, repair
from mirroring.scheduler.ending import next_due
from mirroring.tracker.connection import RunClock
from mirroring.upstream.client.probe import Way
from mirroring.upstream.transfer import listing
from tests.lab.repositories import push_commits
from tests.making import heads_and_tags, state_of
from tests.probe.asking import commit


@pytest.fixture
def round_trip(fleet, repositories_folder, git_server, make_upstream):
    from tests.probe.round_trip import RoundTrip

    return RoundTrip(fleet, git_server, make_upstream("plain"))


def test_an_import_leaves_its_mirror_to_be_checked_and_the_check_finds_nothing_new(round_trip):
    mirror = round_trip.imported()
    state = state_of(mirror)
    assert (state.import_due_at, state.listed_way) == (None, Way.V2_SHA1)
    assert state.check_due_at == state.next_execution_at > round_trip.fleet.tracker.now()
    assert round_trip.checked(mirror)["unchanged"] == 1
    assert heads_and_tags(mirror.repository) == heads_and_tags(round_trip.upstream.path)


@pytest.mark.parametrize("kind", ["commit", "branch", "tag", "delete", "force", "head"])
def test_every_kind_of_push_is_found_by_the_check_and_brought_by_the_import(round_trip, kind):
    mirror = round_trip.imported()
    push_commits(round_trip.upstream, seed=5, kind=kind)
    assert round_trip.checked(mirror)["changed"] == 1
    round_trip.import_again(mirror)
    assert heads_and_tags(mirror.repository) == heads_and_tags(round_trip.upstream.path)
    assert round_trip.checked(mirror)["unchanged"] == 1


def test_an_upstream_that_moves_between_listing_and_fetch_is_found_by_the_next_check(round_trip, monkeypatch):
    """What was listed is what is here, and what its digest is of."""
    ask, upstream = listing.in_process, round_trip.upstream
    listed = heads_and_tags(upstream.path)

    def then_push(*args, **kwargs):
        found = ask(*args, **kwargs)
        push_commits(upstream, seed=6, kind="commit")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(listing, "in_process", then_push)
        mirror = round_trip.imported()
    assert heads_and_tags(mirror.repository) == listed != heads_and_tags(upstream.path)
    assert round_trip.checked(mirror)["changed"] == 1
    round_trip.import_again(mirror)
    assert heads_and_tags(mirror.repository) == heads_and_tags(upstream.path)


def test_a_repository_with_sha256_is_imported_and_checked(round_trip, bare):
    path = bare("sha256")
    mirror = round_trip.imported(url=round_trip.server.add("long", path))
    assert state_of(mirror).listed_way == Way.V2_SHA256
    assert heads_and_tags(mirror.repository) == heads_and_tags(path)
    assert round_trip.checked(mirror)["unchanged"] == 1
    commit(path, "refs/heads/main", "another")
    assert round_trip.checked(mirror)["changed"] == 1
    round_trip.import_again(mirror)
    assert heads_and_tags(mirror.repository) == heads_and_tags(path)


def test_with_the_flag_off_an_import_leaves_its_mirror_to_be_imported(round_trip):
    round_trip.fleet.flag(on=False)
    state = state_of(round_trip.imported())
    assert (state.check_due_at, state.upstream_digest) == (None, None)
    assert state.import_due_at == state.next_execution_at


def test_a_flag_that_is_turned_off_while_mirrors_wait_for_their_checks_leaves_none_behind(round_trip):
    mirror = round_trip.imported()
    round_trip.fleet.flag(on=False)
    assert round_trip.checked(mirror)["released"] == 1
    round_trip.import_again(mirror)
    assert state_of(mirror).check_due_at is None
    round_trip.fleet.flag()
    ImportState.objects.update(import_due_at=round_trip.fleet.tracker.now())
    round_trip.import_again(mirror)
    assert state_of(mirror).check_due_at is not None


def test_an_import_that_fails_leaves_its_mirror_to_be_imported(round_trip):
    mirror = round_trip.imported()
    round_trip.server.behave(round_trip.upstream.name, "gone")
    assert round_trip.checked(mirror)["doubtful: refused"] == 1
    round_trip.import_again(mirror)
    state = state_of(mirror)
    assert (state.status, state.check_due_at, state.import_due_at is None) == ("failed", None, False)
    round_trip.server.behave(round_trip.upstream.name, "")
    round_trip.import_again(mirror)
    assert state_of(mirror).check_due_at is not None


def test_without_a_worker_for_checks_repair_has_the_mirrors_imported(fleet):
    mirror = fleet.mirror(due=-2 * CHECKS_OVERDUE)
    young = fleet.mirror(due=-timedelta(seconds=1))
    _repair(fleet)
    assert state_of(mirror).import_due_at is not None
    assert state_of(young).check_due_at is not None


def test_with_a_worker_for_checks_repair_leaves_them_to_it(fleet):
    mirror = fleet.mirror(due=-2 * CHECKS_OVERDUE)
    fleet.tracker.announce("checks@host:1", slots=0, flags={}, life=timedelta(minutes=1))
    _repair(fleet)
    assert state_of(mirror).check_due_at is not None


def _repair(fleet):
    clock = RunClock(fleet.tracker.now())
    repair.repair(clock=clock, tracker=fleet.tracker, owner="r", next_due=next_due, wake=lambda: None)


def test_explain_names_the_next_check(fleet):
    mirror = _read(fleet.mirror(due=timedelta(minutes=5)))
    why = explain.explain(mirror, tracker=fleet.tracker, now=fleet.tracker.now())
    assert why.verdict == "checked next"
    assert timedelta(minutes=4) < why.starts_at - fleet.tracker.now() < timedelta(minutes=6)
    overdue = _read(fleet.mirror())
    why = explain.explain(overdue, tracker=fleet.tracker, now=fleet.tracker.now())
    assert "no worker for checks" in why.reason
    fleet.tracker.announce("checks@host:1", slots=0, flags={}, life=timedelta(minutes=1))
    why = explain.explain(overdue, tracker=fleet.tracker, now=fleet.tracker.now())
    assert "0 stand before it" in why.reason


def _read(mirror):
    return Mirror.objects.get(pk=mirror.pk)
