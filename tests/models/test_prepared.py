"""Statements that are made once: they do what the ORM does, whatever they are handed, and refuse what they cannot."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F, Value

from mirroring.models import Host, ImportState, Mirror, SchedulingSettings
from mirroring.models.prepared import Changes, PreparedSelect, PreparedUpdate, PreparedValues
from mirroring.rules.hosts import UNBOUNDED
from tests.making import NOW

pytestmark = pytest.mark.django_db


def test_a_value_is_what_each_call_hands_in(make_mirror):
    one, other = make_mirror(), make_mirror()
    write = PreparedUpdate(lambda rows, *, pk, **to: Changes(rows.filter(pk=pk), to))
    rows = ImportState.objects.all()

    assert (
        write(rows, pk=one.pk, last_error="a", last_checked_at=NOW, upstream_digest=b"1", retry_count=1) == 1
    )
    assert (
        write(rows, pk=other.pk, last_error="b", last_checked_at=NOW, upstream_digest=None, retry_count=2)
        == 1
    )
    assert write(rows, pk=0, last_error="c", last_checked_at=NOW, upstream_digest=b"3", retry_count=3) == 0

    found = [ImportState.objects.get(pk=mirror.pk) for mirror in (one, other)]
    assert [(row.last_error, row.last_checked_at, row.retry_count) for row in found] == [
        ("a", NOW, 1),
        ("b", NOW, 2),
    ]
    assert [row.upstream_digest and bytes(row.upstream_digest) for row in found] == [b"1", None]


def test_truth_values_are_part_of_the_statement(make_mirror):
    mirror = make_mirror()
    write = PreparedUpdate(
        lambda rows, *, urgent: Changes(rows, {"retry_count": F("retry_count") + (5 if urgent else 1)})
    )

    for urgent in (True, False, True):
        write(ImportState.objects.all(), urgent=urgent)

    assert ImportState.objects.get(pk=mirror.pk).retry_count == 11


def test_a_row_comes_with_those_that_it_refers_to(make_mirror, django_assert_num_queries):
    mirror = make_mirror()
    known = Mirror.objects.select_related("group", "host", "credential__group", "state").get(pk=mirror.pk)

    with django_assert_num_queries(1):
        found = Mirror.objects.whole(mirror.pk)
        related = found.group, found.host, found.credential, found.state

    assert (found, *related) == (known, known.group, known.host, known.credential, known.state)
    for ours, theirs in ((found, known), (found.state, known.state), (found.host, known.host)):
        fields = [field.attname for field in theirs._meta.concrete_fields]
        assert [getattr(ours, name) for name in fields] == [getattr(theirs, name) for name in fields]


def test_a_list_is_one_value(make_mirror):
    hosts = {make_mirror(url=f"https://{name}.example.com/a.git").host for name in ("one", "two", "three")}
    pks = sorted(host.pk for host in hosts)

    limits = [Host.objects.limits(some, bounds=UNBOUNDED, now=NOW) for some in (pks[:1], pks[1:], [])]

    assert [sorted(of) for of in limits] == [pks[:1], pks[1:], []]


def test_what_is_made_from_a_value_is_refused():
    """It would be made once, from a stand-in, and stand in every statement from then on."""
    write = PreparedUpdate(
        lambda rows, *, now: Changes(
            rows.filter(claimed_at=now), {"import_due_at": Value(now - timedelta(1))}
        )
    )

    with pytest.raises(ValueError, match="made from a value"):
        write(ImportState.objects.all(), now=NOW)


def test_a_value_that_is_not_used_is_refused():
    read = PreparedSelect(lambda rows, *, pk, now: rows.filter(pk=pk))

    with pytest.raises(ValueError, match="now"):
        read(ImportState.objects.all(), pk=1, now=NOW)


def test_rows_that_were_narrowed_before_are_refused():
    """The statement would be for all of them."""
    with pytest.raises(ValueError, match="all rows"):
        Mirror.objects.filter(name="x").whole(1)


def test_columns_are_read_as_a_queryset_reads_them(make_mirror):
    mirror = make_mirror(
        mirror={"ref_patterns": ["refs/heads/main"]}, last_update_at=NOW, upstream_digest=b"x"
    )
    columns = ("pk", "host__name", "ref_patterns", "state__last_update_at", "state__upstream_digest")
    read = PreparedValues(lambda rows, *, pk: rows.filter(pk=pk).order_by().values_list(*columns))

    [found] = read(Mirror.objects.all(), pk=mirror.pk)

    *plain, digest = found
    assert plain == [mirror.pk, mirror.host.name, ["refs/heads/main"], NOW]
    assert bytes(digest) == b"x"


def test_postgresql_plans_what_runs_often_no_more():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no server to keep statements")
    for _ in range(6):
        SchedulingSettings.current()

    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        kept = [row[0] for row in cursor.fetchall()]
    assert any("mirroring_schedulingsettings" in statement for statement in kept)
