"""Which mirrors a list shows."""

from datetime import datetime

from mirroring.catalog import Freshness, find_credential, find_group, freshness
from mirroring.models import Mirror, SchedulingSettings
from mirroring.rules.states import Status

PAUSED, HARD_FAILED, STALE, REMOVED = "paused", "hard-failed", "stale", "removed"
STATUSES = [*map(str, Status), PAUSED, HARD_FAILED, STALE, REMOVED]


def select(
    status: str | None,
    group: str | None,
    credential: str | None,
    *,
    now: datetime,
    configured: SchedulingSettings,
) -> list[Mirror]:
    """Return the mirrors of a status, a group and a credential, by name; removed ones only where they are asked for."""
    rows = Mirror.objects.select_related("group", "host", "state", "credential__group").filter(
        deleted_at__isnull=status != REMOVED
    )
    if group is not None:
        rows = rows.filter(group=find_group(group))
    if credential is not None:
        rows = rows.filter(credential=find_credential(credential))
    if status in set(Status):
        rows = rows.filter(state__status=status)
    if status == PAUSED:
        rows = rows.filter(paused_at__isnull=False)
    if status == HARD_FAILED:
        rows = rows.filter(state__hard_failed=True)
    mirrors = list(rows.order_by("group__name", "name", "pk"))
    if status == STALE:
        return [
            row for row in mirrors if freshness(row, now=now, cadence=configured.cadence) is Freshness.STALE
        ]
    return mirrors
