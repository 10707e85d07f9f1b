"""How the databases lease checks: by the line of each host, whatever stands in front and however it is planned."""

from datetime import timedelta

import pytest

from mirroring.models import ImportState
from tests.making import NOW
from tests.models import plans

pytestmark = pytest.mark.django_db

INDEX = "importstate_checks"


@pytest.fixture
def statement():
    """The statement of a lease, as it is sent, and its parameters; it has leased nothing that is due."""
    plans.make_fleet(lambda number: "import_due_at" if number % 7 == 0 else "check_due_at")
    long_ago, busy = NOW - timedelta(days=9), [plans.HOSTS * 10]
    return plans.sent_by(
        lambda: ImportState.objects.lease_checks(100, now=long_ago, until=NOW, each=20, busy=busy)
    )


def test_checks_are_leased_by_one_statement_that_reads_the_lines_by_their_index(statement):
    plan = plans.plan_of(*statement)

    assert plans.reads_lines_by(INDEX, plan), plan


def test_a_generic_plan_reads_the_lines_of_checks_by_their_index_too(statement):
    types = {
        "now": "timestamptz",
        "until": "timestamptz",
        "each": "int",
        "limit": "int",
        "busy": "bigint[]",
    } | {"adaptive": "boolean"}

    plan = plans.generic_plan_of(*statement, types=types)

    assert plans.reads_lines_by(INDEX, plan), plan
