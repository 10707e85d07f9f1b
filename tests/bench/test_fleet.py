"""Fleets are what the product itself would have made, on both databases."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from bench.harness import fleet
from mirroring.models import ImportState, Mirror

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def due_times() -> list[datetime]:
    return list(ImportState.objects.order_by("mirror_id").values_list("import_due_at", flat=True))


def test_a_fleet_has_a_state_for_each_mirror_all_due_within_the_hour_before():
    made = fleet.make(500, now=NOW, hosts=50)

    due = due_times()
    assert Mirror.objects.count() == len(due) == made.count == 500
    assert NOW - timedelta(hours=1) <= min(due) < NOW - timedelta(minutes=55)
    assert max(due) == NOW
    assert len(ImportState.objects.claim_due(500, now=NOW, until=NOW + timedelta(hours=1))) == 500


def test_half_of_a_fleet_is_on_five_hosts_and_a_mirror_and_its_state_agree_on_the_host():
    made = fleet.make(2000, now=NOW, hosts=50)

    hosts = Counter(ImportState.objects.values_list("host_id", flat=True))
    big = sum(count for host, count in hosts.items() if host in made.hosts[: fleet.BIG_HOSTS])
    assert 0.45 < big / 2000 < 0.55
    assert set(hosts) == set(made.hosts)
    assert not ImportState.objects.exclude(host_id=models_host()).exists()


def models_host():
    from django.db.models import F

    return F("mirror__host_id")


def test_mirrors_can_be_added_after_a_fleet(make_mirror):
    made = fleet.make(20, now=NOW, hosts=10)

    assert make_mirror().pk >= made.first + made.count
