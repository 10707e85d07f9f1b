"""One run of checks: how long it goes on, who goes on after it, and what it reads how often."""

import time
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from mirroring.models import Host, ImportState
from mirroring.scheduler import checking
from mirroring.tracker.connection import RunClock
from tests.lab.memory_upstream import Refs
from tests.making import state_of

SECOND = timedelta(seconds=1)


def test_a_run_waits_for_what_falls_due_next(fleet):
    mirror = fleet.mirror(due=SECOND)

    assert fleet.run()["unchanged"] == 0
    assert fleet.run(lingers=3.0)["unchanged"] == 1

    assert state_of(mirror).check_due_at > fleet.tracker.now()


def test_an_upstream_that_hangs_holds_up_no_other(fleet, configure):
    configure(lease_seconds=10)  # It is waited for during half of that.
    fleet.upstream.repositories["hangs"] = Refs.made("hangs", count=2)
    hangs = fleet.mirror("hangs")
    others = [fleet.mirror(due=number * SECOND) for number in range(4)]
    fleet.upstream.special["hangs"] = lambda _: None
    began, checked = fleet.tracker.now(), []

    def look() -> bool:
        still_due = ImportState.objects.filter(check_due_at__lte=fleet.tracker.now() - 2 * SECOND)
        checked.append(not still_due.exclude(pk=hangs.pk).exists())
        return False

    counted = fleet.run(stopping=look)

    assert counted["unchanged"] == len(others)
    assert counted["doubtful: slow"] == 1
    assert all(checked[1:])
    assert 4 * SECOND < fleet.tracker.now() - began < 10 * SECOND


def test_a_clock_that_went_wrong_is_set_right_during_a_run(fleet):
    mirror = fleet.mirror(due=-SECOND)
    behind = RunClock(fleet.tracker.now() - 3600 * SECOND)

    assert fleet.run(clock=behind, lingers=5.0)["unchanged"] == 1

    assert state_of(mirror).check_due_at > fleet.tracker.now()


def test_a_run_that_is_to_stop_leases_nothing_more(fleet):
    mirror = fleet.mirror()

    fleet.run(stopping=lambda: True, lingers=60.0)

    assert state_of(mirror).check_due_at < fleet.tracker.now()


def test_the_answers_of_a_turn_are_written_by_one_statement_and_hosts_are_read_once(fleet):
    for number in range(checking.EACH + 6):  # Two batches.
        fleet.upstream.repositories[str(number)] = Refs.made(str(number), count=2)
        fleet.mirror(str(number))

    with CaptureQueriesContext(connection) as said:
        assert fleet.run()["unchanged"] == checking.EACH + 6

    statements = [query["sql"] for query in said]
    assert sum("AS state" in each for each in statements) <= 3
    assert sum(each.startswith("SELECT") and 'FROM "mirroring_host"' in each for each in statements) == 1


def test_a_host_that_is_set_up_otherwise_meanwhile_is_reached_so(fleet):
    fleet.mirror()
    late = fleet.mirror(due=3 * SECOND)
    turns: list[bool] = []

    def change() -> bool:
        turns.append(True)
        if len(turns) == 5:  # The first has been checked.
            assert ImportState.objects.filter(check_due_at__gt=fleet.tracker.now() + 60 * SECOND).exists()
            Host.objects.update(proxy="http://127.0.0.1:1")
        return False

    counted = fleet.run(stopping=change, lingers=5.0)

    assert counted["unchanged"] == 1
    assert counted["doubtful: unreachable"] == 1
    assert state_of(late).import_due_at is not None


def leases(said) -> int:
    return sum("SET check_due_at" in query["sql"] and "RETURNING" in query["sql"] for query in said)


def test_a_backlog_of_a_host_that_keeps_up_is_leased_in_ever_larger_parts_without_waiting(fleet, monkeypatch):
    monkeypatch.setattr(checking, "TURN_SECONDS", 2.0)
    for _ in range(checking.EACH * 7 + 1):
        fleet.mirror()

    began = time.monotonic()
    with CaptureQueriesContext(connection) as said:
        counted = fleet.run(lingers=0.1)

    assert counted["unchanged"] == checking.EACH * 7 + 1
    assert time.monotonic() - began < 8
    assert leases(said) < 7


def test_a_host_that_does_not_keep_up_is_given_no_more(fleet, configure):
    configure(lease_seconds=6)
    for _ in range(checking.EACH * 3):
        fleet.mirror()
    fleet.upstream.special["a"] = lambda _: None

    ends = time.monotonic() + 1
    fleet.run(stopping=lambda: time.monotonic() > ends)

    assert (
        ImportState.objects.exclude(check_due_at__lt=fleet.tracker.now() - 60 * SECOND).count()
        == checking.EACH
    )


def test_the_next_part_is_leased_while_the_last_questions_of_one_are_under_way(fleet, configure, monkeypatch):
    configure(lease_seconds=12)
    monkeypatch.setattr(checking, "TURN_SECONDS", 5.0)
    asked: list[float] = []
    for number in range(checking.EACH * 2):
        fleet.upstream.repositories[str(number)] = Refs.made(str(number), count=2)
        fleet.mirror(str(number), due=(number - 1000) * SECOND)
    fleet.upstream.special["5"] = lambda _: None
    fleet.upstream.special[str(checking.EACH * 2 - 1)] = lambda _: asked.append(time.monotonic())

    began = time.monotonic()
    counted = fleet.run()

    assert counted["doubtful: slow"] == 2
    assert asked[0] - began < 4


def test_parts_do_not_grow_while_a_question_of_an_earlier_one_is_not_answered(fleet, configure, monkeypatch):
    configure(lease_seconds=6)
    monkeypatch.setattr(checking, "TURN_SECONDS", 1.0)
    for number in range(checking.EACH * 9):
        fleet.upstream.repositories[str(number)] = Refs.made(str(number), count=2)
        fleet.mirror(str(number), due=(number - 1000) * SECOND)
    fleet.upstream.special["5"] = lambda _: None
    due: list[int] = []

    def look() -> bool:
        due.append(ImportState.objects.filter(check_due_at__lte=fleet.tracker.now()).count())
        return False

    counted = fleet.run(stopping=look)

    assert counted["unchanged"] == checking.EACH * 9 - 1
    parts = [before - after for before, after in pairwise(due)]
    assert sum(part > checking.EACH for part in parts) == 1, parts  # The second; it was not answered since.


# -- runs that break off, and answers that get lost -----------------------------------------------------------------


@pytest.mark.timeout(30)
def test_a_run_counts_no_answers_to_the_questions_of_one_that_broke_off(fleet, configure):
    configure(lease_seconds=6)
    for name in ("hangs", "own"):
        fleet.upstream.repositories[name] = Refs.made(name, count=2)
    hangs, late = fleet.mirror("hangs"), fleet.mirror(due=4 * SECOND)
    own = fleet.mirror("own", due=2 * SECOND)
    fleet.upstream.special |= {"hangs": lambda _: None, "own": lambda _: None}
    turns: list[bool] = []

    def break_off() -> bool:
        turns.append(True)
        if len(turns) == 3:
            raise OperationalError("terminating connection due to administrator command")
        return False

    with pytest.raises(OperationalError):
        fleet.run(stopping=break_off, lingers=5.0)
    leased_until = state_of(hangs).check_due_at

    counted = fleet.run(lingers=3.0, stopping=lambda: fleet.tracker.now() > leased_until)

    assert (counted["unchanged"], counted["doubtful: slow"], counted["late"]) == (1, 1, 1)
    assert state_of(own).import_due_at is not None
    assert state_of(late).check_due_at > fleet.tracker.now()
    assert state_of(hangs).check_due_at == leased_until  # Due again by itself.


@pytest.mark.timeout(30)
def test_a_run_does_not_wait_for_ever_for_an_answer_that_got_lost(fleet, configure):
    configure(lease_seconds=3)
    fleet.upstream.repositories["hangs"] = Refs.made("hangs", count=2)
    mirror = fleet.mirror("hangs")
    fleet.upstream.special["hangs"] = lambda _: None
    taken: list[object] = []

    def another_takes_it() -> bool:
        if ImportState.objects.filter(pk=mirror.pk, check_due_at__gt=fleet.tracker.now()).exists():
            taken.extend(fleet.prober.answers(wait=4.0))
        return bool(taken)

    counted = fleet.run(stopping=another_takes_it)

    assert len(taken) == 1
    assert counted["unanswered"] == 1
    assert state_of(mirror).check_due_at <= fleet.tracker.now()
