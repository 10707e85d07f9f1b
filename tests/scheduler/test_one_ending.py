"""The end of an import is written to row and history together: an attempt is never left open beside a row at rest."""

import pytest
from django.db import OperationalError, connection

from mirroring.models import ImportAttempt
from mirroring.scheduler import ending, importing, repair
from mirroring.tracker.connection import RunClock
from tests.making import state_of
from tests.scheduler.workshop import attempt_of, expire

pytestmark = pytest.mark.django_db(transaction=True)


class Outage:
    """The database goes away just as the history is about to be written, so many times."""

    def __init__(self, times):
        self.left = times

    def __call__(self, execute, sql, params, many, context):
        if self.left and sql.startswith('UPDATE "mirroring_importattempt"'):
            self.left -= 1
            raise OperationalError("the server closed the connection unexpectedly")
        return execute(sql, params, many, context)


def test_an_end_that_was_interrupted_is_written_whole_when_the_database_is_back(works):
    mirror = works.mirror()
    claim = works.scheduled(mirror)

    with connection.execute_wrapper(Outage(1)):
        works.run(claim)

    assert state_of(mirror).status == "finished"
    assert attempt_of(claim).outcome == "changed"
    assert attempt_of(claim).ended_at


def test_a_repair_that_was_interrupted_is_done_whole_by_the_next(works, tracker):
    mirror = works.mirror()
    claim = works.scheduled(mirror)
    importing._start(claim, place=place(works), lease=works.heart().lease)
    expire(mirror)

    with connection.execute_wrapper(Outage(1)), pytest.raises(OperationalError):
        mend(tracker)
    assert state_of(mirror).status == "started"

    mend(tracker)

    assert state_of(mirror).status == "failed"
    assert not ImportAttempt.objects.filter(ended_at=None).exists()


def place(works):
    return importing.Place(
        tracker=works.tracker,
        clock=RunClock(works.tracker.now()),
        in_flight=works.in_flight,
        worker="worker",
        wake=lambda: None,
    )


def mend(tracker):
    repair.repair(
        clock=RunClock(tracker.now()),
        tracker=tracker,
        owner="repairer",
        next_due=ending.next_due,
        wake=lambda: None,
    )
