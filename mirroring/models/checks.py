"""The check line: mirrors whose upstream is asked whether there is anything new, before they are imported again.

A check claims nothing and raises no epoch. It leases its row by moving `check_due_at` on to the end of the lease, and
every write of its outcome is guarded by that value: a checker that dies leaves rows that are due again by themselves,
and one that comes late, after a person or another checker, changes nothing.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import connections, models
from django.db.models import Case, Q, Value, When

if TYPE_CHECKING:
    from mirroring.models.import_state import ImportState

    _ImportStates = models.QuerySet[ImportState]
else:
    _ImportStates = models.QuerySet

CHECKS_OVERDUE = timedelta(minutes=1)
"""How long a check may be due, where no worker does checks, before its mirror is imported instead."""

_LEASE = """
UPDATE mirroring_importstate
   SET check_due_at = %(until)s
 WHERE check_due_at <= %(now)s AND mirror_id {chosen}
RETURNING mirror_id
"""
# Each host gives its longest-waiting rows, so that a slow host's backlog in front holds up no other.
_CHOSEN = {
    "postgresql": """= ANY (ARRAY(
       SELECT due.mirror_id
         FROM mirroring_host AS host
        CROSS JOIN LATERAL (
              SELECT mirror_id, check_due_at
                FROM mirroring_importstate
               WHERE host_id = host.id AND check_due_at <= %(now)s
               ORDER BY check_due_at
               LIMIT %(each)s) AS due
        WHERE (NOT %(adaptive)s OR host.cooling_until IS NULL OR host.cooling_until <= %(now)s)
          AND host.id <> ALL (%(busy)s)
        ORDER BY due.check_due_at
        LIMIT %(limit)s))""",
    "sqlite": """IN (
       SELECT due.mirror_id
         FROM mirroring_host AS host
         JOIN mirroring_importstate AS due ON due.mirror_id IN (
              SELECT mirror_id
                FROM mirroring_importstate
               WHERE host_id = host.id AND check_due_at <= %(now)s
               ORDER BY check_due_at
               LIMIT %(each)s)
        WHERE (NOT %(adaptive)s OR host.cooling_until IS NULL OR host.cooling_until <= %(now)s)
          AND host.id NOT IN (SELECT value FROM json_each(%(busy)s))
        ORDER BY due.check_due_at
        LIMIT %(limit)s)""",
}

_SETTLE = """
UPDATE mirroring_importstate AS state
   SET check_due_at = CASE WHEN v.imports THEN NULL ELSE v.due_at END,
       import_due_at = CASE WHEN v.imports THEN v.due_at END,
       next_execution_at = v.due_at,
       last_checked_at = COALESCE(v.checked_at, state.last_checked_at),
       last_successful_update_at = CASE WHEN v.same THEN v.checked_at ELSE state.last_successful_update_at END
  FROM {values}
 WHERE state.mirror_id = v.mirror_id AND state.check_due_at = v.lease
"""
_VALUES = {
    "postgresql": """unnest(%(c0)s::bigint[], %(c1)s::timestamptz[], %(c2)s::timestamptz[], %(c3)s::boolean[],
              %(c4)s::timestamptz[], %(c5)s::boolean[]) AS v (mirror_id, lease, due_at, imports, checked_at, same)""",
    "sqlite": """(SELECT json_extract(value, '$[0]') AS mirror_id, json_extract(value, '$[1]') AS lease,
              json_extract(value, '$[2]') AS due_at, json_extract(value, '$[3]') AS imports,
              json_extract(value, '$[4]') AS checked_at, json_extract(value, '$[5]') AS same
         FROM json_each(%(rows)s)) AS v""",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is written of one leased row. `imports`: it is due for an import, else for another check, at `due_at`.

    `checked_at`: not before this moment did the upstream give an answer; `same`: the answer has nothing new, so that
    the mirror is known to have been current then.
    """

    mirror_id: int
    lease: datetime
    due_at: datetime
    imports: bool
    checked_at: datetime | None = None
    same: bool = False


def check_time(due: datetime | None) -> models.Expression:
    """Return the expression for `check_due_at` of a row that comes to rest: none while paused or asked for."""
    never = Value(None, output_field=models.DateTimeField())
    if due is None:
        return never  # A CASE whose branches are all NULL would be text for PostgreSQL.
    skipped = When(Q(urgent=True) | Q(active=False), then=never)
    return Case(skipped, default=Value(due), output_field=models.DateTimeField())


def _texts(v: Verdict) -> tuple[str, ...]:
    """Return a verdict as it stands in the arrays; the driver takes several times as long for the same."""
    at = f'"{v.checked_at.isoformat()}"' if v.checked_at else "NULL"
    due, lease = f'"{v.due_at.isoformat()}"', f'"{v.lease.isoformat()}"'
    return str(v.mirror_id), lease, due, str(v.imports), at, str(v.same)


def _adapted(v: Verdict, connection: Any) -> tuple[Any, ...]:
    at = connection.ops.adapt_datetimefield_value
    return v.mirror_id, at(v.lease), at(v.due_at), v.imports, at(v.checked_at), v.same


class ChecksQuerySet(_ImportStates):
    """Leases and outcomes of checks; each is one statement for a whole batch."""

    def lease_checks(
        self,
        limit: int,
        *,
        now: datetime,
        until: datetime,
        each: int,
        busy: Collection[int] = (),
        adaptive: bool = True,
    ) -> list[int]:
        """Lease at most `limit` rows whose check is due, at most `each` of a host and none of `busy` ones.

        Return their ids, in no order. A host that cools is left out, where limits follow its answers (`adaptive`).
        """
        connection = connections[self.db]
        at = connection.ops.adapt_datetimefield_value
        statement = _LEASE.format(chosen=_CHOSEN[connection.vendor])
        values: dict[str, Any] = {"now": at(now), "until": at(until), "limit": limit, "each": each}
        values["adaptive"] = adaptive
        values["busy"] = list(busy) if connection.vendor == "postgresql" else json.dumps(list(busy))
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return [row[0] for row in cursor.fetchall()]

    def settle_checks(self, verdicts: Sequence[Verdict]) -> int:
        """Write the outcomes of a batch in one statement, and return how many rows were still leased as it says."""
        if not verdicts:
            return 0
        connection = connections[self.db]
        if connection.vendor == "postgresql":
            columns = zip(*(_texts(verdict) for verdict in verdicts), strict=True)
            values = {f"c{number}": f"{{{','.join(column)}}}" for number, column in enumerate(columns)}
        else:
            values = {"rows": json.dumps([_adapted(verdict, connection) for verdict in verdicts])}
        with connection.cursor() as cursor:
            cursor.execute(_SETTLE.format(values=_VALUES[connection.vendor]), values)
            return int(cursor.rowcount)

    def checks_due(self, *, now: datetime) -> "models.QuerySet[ImportState]":
        """Narrow to mirrors whose upstream waits to be asked."""
        return self.filter(check_due_at__lte=now)

    def abandon_checks(self, *, overdue_since: datetime, now: datetime, limit: int) -> int:
        """Make mirrors due for an import whose check nobody does, and return how many."""
        overdue = list(self.filter(check_due_at__lte=overdue_since).values_list("pk", flat=True)[:limit])
        return self.filter(pk__in=overdue, check_due_at__lte=overdue_since).update(
            check_due_at=None, import_due_at=now, next_execution_at=now
        )
