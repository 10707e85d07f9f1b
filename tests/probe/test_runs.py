"""One run of checks: how long it goes on, who goes on after it, and what it reads how often."""

import time
from datetime import timedelta

from django.db import connection
from django.test.utils import CaptureQueriesContext

from mirroring.models import Host, ImportState
from mirroring.scheduler import checking
from tests.lab.memory_upstream import Refs
from tests.making import state_of

SECOND = timedelta(seconds=1)


def test_a_run_waits_for_what_falls_due_next(fleet):
    mirror = fleet.mirror(due=SECOND)

    assert fleet.run()["unchanged"] == 0
    assert fleet.run(lingers=3.0)["unchanged"] == 1

    assert state_of(mirror).check_due_at > fleet.tracker.now()


def test_a_run_whose_time_is_over_begins_the_next_and_one_without_work_does_not(fleet, monkeypatch):
    begun: list[bool] = []
    fleet.mirror()

    assert fleet.run(again=lambda: begun.append(True))["unchanged"] == 1
    assert begun == []

    monkeypatch.setattr(checking, "RUN_SECONDS", 0.3)
    fleet.run(again=lambda: begun.append(True), lingers=60.0)
    assert begun == [True]


def test_a_run_that_is_to_stop_begins_no_other(fleet, monkeypatch):
    begun: list[bool] = []
    monkeypatch.setattr(checking, "RUN_SECONDS", 0.0)

    fleet.run(again=lambda: begun.append(True), stopping=lambda: True, lingers=60.0)

    assert begun == []


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


def test_a_backlog_of_one_host_is_not_held_up_by_turns(fleet, monkeypatch):
    monkeypatch.setattr(checking, "TURN_SECONDS", 1.0)
    for _ in range(checking.EACH * 4 + 1):
        fleet.mirror()

    began = time.monotonic()
    counted = fleet.run(lingers=0.1)

    assert counted["unchanged"] == checking.EACH * 4 + 1
    assert time.monotonic() - began < 4
