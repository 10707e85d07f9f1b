"""How the databases carry a claim out: by the line of each host, whatever stands in front and however it is planned."""

from datetime import timedelta

import pytest

from mirroring.models import ImportState
from mirroring.rules.hosts import bounds
from tests.making import NOW
from tests.models import plans

pytestmark = pytest.mark.django_db

INDEX = "importstate_lines"


@pytest.fixture
def statement():
    """The statement of a claim, as it is sent, and its parameters; it has claimed nothing that is due."""
    plans.make_fleet(lambda number: "import_due_at")
    long_ago, held = NOW - timedelta(days=9), bounds(100, share_percent=90)
    return plans.sent_by(lambda: ImportState.objects.claim_due(100, now=long_ago, until=NOW, bounds=held))


def test_a_claim_is_one_statement_that_reads_the_lines_by_their_index(statement):
    plan = plans.plan_of(*statement)

    assert plans.reads_lines_by(INDEX, plan), plan
    assert "importstate_held" in plan


def test_a_generic_plan_reads_the_lines_by_their_index_too(statement):
    types = dict.fromkeys(("now", "until", "urgent"), "timestamptz")
    types |= {"first": "float8"} | dict.fromkeys(("limit", "start", "ceiling"), "int")
    types |= dict.fromkeys(("adaptive", "queued"), "boolean")

    plan = plans.generic_plan_of(*statement, types=types)

    assert plans.reads_lines_by(INDEX, plan), plan
    assert "importstate_held" in plan
