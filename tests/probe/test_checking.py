"""The check line: unchanged mirrors cost nothing but the question, and no change is ever missed."""

from datetime import timedelta
from random import Random

import pytest

from mirroring.models import ImportState
from mirroring.models.checks import Verdict
from mirroring.scheduler import checking
from mirroring.upstream.client.probe import Way
from tests.lab.memory_upstream import Refs, http
from tests.making import state_of

SECOND = timedelta(seconds=1)


def test_an_unchanged_mirror_is_known_to_be_current_and_due_for_its_next_check(fleet, configure):
    configured = configure(mirror_min_delay_seconds=600, mirror_jitter_seconds=0)
    mirror = fleet.mirror()
    before = state_of(mirror)
    began = fleet.tracker.now()
    assert fleet.run()["unchanged"] == 1
    after = state_of(mirror)
    assert after.last_checked_at == after.last_successful_update_at >= began - SECOND
    assert after.check_due_at == after.next_execution_at
    assert abs(after.check_due_at - began - configured.cadence.min_delay) < 10 * SECOND
    kept = (
        "status",
        "epoch",
        "import_due_at",
        "claim_expires_at",
        "last_update_at",
        "upstream_digest",
        "retry_count",
    )
    assert all(getattr(after, name) == getattr(before, name) for name in kept)
    assert fleet.woken == []


def test_a_changed_mirror_is_due_for_an_import_at_once(fleet):
    mirror = fleet.mirror()
    fleet.upstream.repositories["a"].push()
    assert fleet.run()["changed"] == 1
    state = state_of(mirror)
    assert state.check_due_at is None
    assert state.import_due_at == state.next_execution_at <= fleet.tracker.now()
    assert state.last_successful_update_at < state.last_checked_at
    assert fleet.woken


@pytest.mark.parametrize(
    "answer",
    [
        http(b"", status="401 Unauthorized"),
        http(b"", status="302 Found", extra="Location: http://elsewhere.invalid/"),
        http(b"", status="500 Internal Server Error"),
        http(b"<html>sign in</html>", kind="text/html"),
        http(b"0000", kind="application/x-git-upload-pack-result"),
        http(b"", kind="application/x-git-upload-pack-result"),
        b"not http at all\r\n\r\n",
    ],
)
def test_in_doubt_a_mirror_is_imported(fleet, answer):
    mirror = fleet.mirror()
    fleet.upstream.special["a"] = lambda request: answer
    fleet.run()
    state = state_of(mirror)
    assert (state.check_due_at, state.import_due_at is None) == (None, False)
    assert state.last_successful_update_at < fleet.tracker.now() - timedelta(hours=1)


@pytest.mark.parametrize("change", ["refs", "url", "version", "digest", "way"])
def test_every_input_of_the_digest_counts(fleet, change):
    mirror = fleet.mirror()
    fleet.upstream.repositories["b"] = fleet.upstream.repositories["a"]
    if change == "refs":
        mirror.ref_selection, mirror.ref_patterns = (
            "patterns",
            ["refs/heads/*", "refs/tags/*", "refs/heads/main"],
        )
    elif change == "url":
        mirror.url = fleet.upstream.url_of("b")
    elif change == "version":
        mirror.config_version += 1
    mirror.save()
    if change == "digest":
        ImportState.objects.update(upstream_digest=None)
    elif change == "way":
        ImportState.objects.update(listed_way="by pigeon")
    fleet.run()
    assert state_of(mirror).import_due_at is not None


def test_no_change_hidden_in_a_fleet_is_missed(fleet):
    dice = Random(11)
    upstream = fleet.upstream
    for number in range(300):
        upstream.repositories[str(number)] = Refs.made(str(number), count=dice.choice([1, 3, 10]), seed=11)
    mirrors = {number: fleet.mirror(str(number)) for number in range(300)}
    moved = set(dice.sample(range(300), 3))
    for number in moved:
        dice.choice(
            [upstream.repositories[str(number)].push, lambda number=number: _drop(upstream, number)]
        )()
    counted = fleet.run()
    due = {number for number, mirror in mirrors.items() if state_of(mirror).import_due_at is not None}
    assert due == moved, counted


def _drop(upstream, number):
    refs = upstream.repositories[str(number)]
    refs.refs = {f"{name}-renamed": oid for name, oid in refs.refs.items()}


def test_mirrors_of_one_url_share_one_question(fleet):
    mirrors = [fleet.mirror() for _ in range(5)]
    narrow = fleet.mirror(ref_selection="patterns", ref_patterns=["refs/heads/main"])
    before = fleet.upstream.asked()
    assert fleet.run()["unchanged"] == 6
    assert fleet.upstream.asked() - before == 2
    assert len({state_of(mirror).last_checked_at for mirror in [*mirrors, narrow]}) == 1


def test_the_connection_is_kept_from_run_to_run(fleet):
    mirror = fleet.mirror()
    for _ in range(3):
        ImportState.objects.update(check_due_at=fleet.tracker.now())
        assert fleet.run()["unchanged"] == 1
    assert fleet.upstream.connections == 1
    assert state_of(mirror).check_due_at > fleet.tracker.now()


def test_a_server_of_an_older_protocol_is_checked_by_its_handshake(fleet):
    fleet.upstream.speaks = 0
    mirror = fleet.mirror(way=Way.ADVERTISED)
    assert fleet.run()["unchanged"] == 1
    fleet.upstream.repositories["a"].push()
    ImportState.objects.update(check_due_at=fleet.tracker.now())
    assert fleet.run()["changed"] == 1
    assert state_of(mirror).import_due_at is not None


def test_what_only_git_can_list_is_checked_by_git_and_tried_otherwise_after_a_day(fleet, git_server, bare):
    mirror = fleet.mirror(url=git_server.add("real", bare()), way=Way.GIT)
    assert fleet.run()["unchanged"] == 1
    day = fleet.tracker.now() - checking.GIT_ONLY_FOR - SECOND
    ImportState.objects.update(check_due_at=fleet.tracker.now(), last_update_at=day)
    assert fleet.run()["retried"] == 1
    assert state_of(mirror).import_due_at is not None


def test_with_the_flag_off_rows_become_due_for_an_import_unasked(fleet):
    mirror = fleet.mirror()
    asked = fleet.upstream.asked()
    fleet.flag(on=False)
    assert fleet.run()["released"] == 1
    assert fleet.upstream.asked() == asked
    assert state_of(mirror).import_due_at is not None


def test_the_flag_can_be_on_for_one_mirror(fleet):
    fleet.flag(on=False)
    chosen, other = fleet.mirror(), fleet.mirror()
    _on_for(chosen)
    fleet.run()
    assert state_of(chosen).import_due_at is None
    assert state_of(other).import_due_at is not None


def _on_for(mirror):
    from mirroring.flags.models import Flag

    Flag.objects.update_or_create(
        name="check_before_import", defaults={"active": False, "actors": [f"mirror:{mirror.pk}"]}
    )


@pytest.mark.parametrize("mode", ["paused_all", "silent_mode"])
def test_nothing_is_asked_while_nothing_may_start(fleet, configure, mode):
    mirror = fleet.mirror()
    asked = fleet.upstream.asked()
    configure(**{mode: True})
    fleet.run()
    assert fleet.upstream.asked() == asked
    assert state_of(mirror).check_due_at is not None


def test_rows_whose_checker_died_are_due_again_by_themselves(fleet):
    mirror = fleet.mirror()
    now = fleet.tracker.now()
    until = now + 3 * SECOND
    assert ImportState.objects.lease_checks(10, now=now, until=until, each=10) == [mirror.pk]
    assert ImportState.objects.lease_checks(10, now=now, until=until, each=10) == []
    assert ImportState.objects.lease_checks(10, now=until, until=until + SECOND, each=10) == [mirror.pk]
    assert state_of(mirror).epoch == 0


def test_an_outcome_that_comes_late_changes_nothing(fleet):
    mirror = fleet.mirror()
    now = fleet.tracker.now()
    ImportState.objects.lease_checks(10, now=now, until=now + SECOND, each=10)
    late = Verdict(
        mirror.pk, lease=now + SECOND, due_at=now + 100 * SECOND, imports=False, checked_at=now, same=True
    )
    ImportState.objects.lease_checks(10, now=now + 2 * SECOND, until=now + 9 * SECOND, each=10)
    before = state_of(mirror)
    assert ImportState.objects.settle_checks([late]) == 0
    after = state_of(mirror)
    assert {**vars(after), "_state": None} == {**vars(before), "_state": None}


def test_a_person_who_asks_for_an_import_is_not_overruled_by_a_check(fleet):
    mirror = fleet.mirror()
    now = fleet.tracker.now()
    ImportState.objects.lease_checks(10, now=now, until=now + SECOND, each=10)
    ImportState.objects.filter(pk=mirror.pk).ask_now(now=now)
    state = state_of(mirror)
    assert (state.check_due_at, state.urgent) == (None, True)
    settled = Verdict(mirror.pk, lease=now + SECOND, due_at=now, imports=False, checked_at=now, same=True)
    assert ImportState.objects.settle_checks([settled]) == 0
    assert state_of(mirror).import_due_at == state.import_due_at


def test_a_paused_mirror_is_on_no_line_and_imported_when_it_is_resumed(fleet):
    mirror = fleet.mirror()
    rows = ImportState.objects.filter(pk=mirror.pk)
    rows.deactivate()
    assert fleet.run().total() == 0
    rows.activate(now=fleet.tracker.now())
    state = state_of(mirror)
    assert (state.check_due_at, state.import_due_at is None) == (None, False)


def test_a_batch_is_shared_out_between_hosts(fleet, make_mirror):
    now = fleet.tracker.now()
    for _ in range(30):
        fleet.mirror(due=-timedelta(days=2))
    for number in range(3):
        make_mirror(
            url=f"https://host-{number}.example.org/a/b.git", import_due_at=None, check_due_at=now - SECOND
        )
    leased = ImportState.objects.lease_checks(10, now=now, until=now + SECOND, each=5)
    hosts = set(ImportState.objects.filter(pk__in=leased).values_list("host__name", flat=True))
    assert len(leased) == 8
    assert len(hosts) == 4


def test_a_host_that_has_enough_under_way_gets_no_more(fleet):
    mirror = fleet.mirror()
    now = fleet.tracker.now()
    assert (
        ImportState.objects.lease_checks(9, now=now, until=now + SECOND, each=5, busy=[mirror.host_id]) == []
    )


def test_a_host_that_cannot_be_reached_costs_a_few_imports_and_the_rest_waits(fleet):
    mirrors = [fleet.mirror(str(number), url=f"http://127.0.0.1:1025/{number}.git") for number in range(40)]
    ImportState.objects.update(upstream_digest=b"x" * 32, check_due_at=fleet.tracker.now() - SECOND)
    fleet.prober = type(fleet.prober)(fleet.loop)
    counted = fleet.run()
    assert counted["doubtful: unreachable"] + counted["unasked"] == 40
    assert 1 <= counted["doubtful: unreachable"] <= 12
    assert sum(state_of(mirror).check_due_at is not None for mirror in mirrors) == counted["unasked"]
    assert all(
        state_of(mirror).check_due_at is None or state_of(mirror).check_due_at > fleet.tracker.now()
        for mirror in mirrors
    )


def test_one_checker_runs_at_a_time(fleet):
    fleet.mirror()
    assert fleet.tracker.lead("another", lease=timedelta(seconds=10), role="checker")
    assert fleet.run().total() == 0


def test_what_was_counted_is_in_the_metrics(fleet):
    fleet.mirror()
    fleet.run()
    counters = fleet.tracker.counters()
    assert counters["checks unchanged"] == 1
    assert counters["checks bytes"] > 500


def test_a_run_that_is_told_to_stop_begins_nothing(fleet):
    mirror = fleet.mirror()
    fleet.run(stopping=lambda: True)
    assert state_of(mirror).last_checked_at is None
