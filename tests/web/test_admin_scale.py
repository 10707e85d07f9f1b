"""The admin needs the same few queries for any number of mirrors."""

import pytest

from mirroring.models import Mirror
from mirroring.tracker.connection import connect
from tests.web import sample

pytestmark = pytest.mark.django_db

MIRRORS = "/admin/mirroring/mirror/"


@pytest.mark.parametrize(
    ("path", "queries"),
    [
        ("/admin/", 10),
        (MIRRORS, 10),
        (f"{MIRRORS}?stale=yes", 11),
        (f"{MIRRORS}?q=kernel&o=-3", 10),
        ("/admin/mirroring/host/", 5),
        ("/admin/mirroring/group/", 4),
        ("/admin/mirroring/importattempt/", 4),
    ],
)
def test_a_page_takes_few_queries_for_any_number_of_mirrors(
    path, queries, signed_in, operator, django_assert_max_num_queries
):
    for count in (40, 160):
        now = connect().now()
        Mirror.objects.all().delete()
        sample.occupy(connect(), sample.fill(count, now=now, seed=count), now=now)
        with django_assert_max_num_queries(queries):
            assert signed_in.get(path).status_code == 200


def test_the_list_of_mirrors_is_read_without_sorting_all_of_them(signed_in, operator):
    from django.db import connection

    sample.fill(200, now=connect().now())

    rows = Mirror.objects.filter(deleted_at=None).order_by(
        *signed_in.get(MIRRORS).context["cl"].queryset.query.order_by
    )

    plan = rows[:50].explain()
    assert "TEMP B-TREE" not in plan if connection.vendor == "sqlite" else True
