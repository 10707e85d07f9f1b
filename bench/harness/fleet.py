"""Fleets of mirrors as rows: a million in a minute, copied by the database itself from one that the models made.

What looks random is arithmetic of the mirror's number and the seed, so that both databases and all runs agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bench.harness.measure import require

BIG_HOSTS = 5
OVERDUE = timedelta(hours=1)
_SPREAD = 2_654_435_761  # Knuth's multiplier: consecutive numbers land far apart.
_PRIME = 1_000_003

_SERIES = {
    "postgresql": "generate_series({first}, {last}) AS series(n)",
    "sqlite": "(WITH RECURSIVE counting(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM counting WHERE n < {last})"
    " SELECT n FROM counting WHERE n <= {last}) AS series",
}
_UUID = {"postgresql": "gen_random_uuid()", "sqlite": "lower(hex(randomblob(16)))"}
_BEFORE = {
    "postgresql": "timestamptz '{moment}' - ({seconds}) * interval '1 second'",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', '{moment}', '-' || ({seconds}) || ' seconds')",
}


@dataclass(frozen=True)
class Fleet:
    """Mirrors of one group. `first` is the lowest id; the others follow without a gap."""

    first: int
    count: int
    hosts: tuple[int, ...]
    now: datetime
    seed: int

    def grow(self, count: int) -> "Fleet":
        """Add mirrors until there are so many, due within the hour before `now`; half of them are on five hosts."""
        due = _earlier(self.now, spread=OVERDUE, seed=self.seed)
        return self._add(count, due=due, host=_host_of(self.hosts, seed=self.seed))

    def burst(self, count: int) -> "Fleet":
        """Add mirrors of one host that have been due for longer than all others."""
        long_ago = _earlier(self.now - 2 * OVERDUE, spread=OVERDUE, seed=self.seed)
        return self._add(self.count + count, due=long_ago, host=str(self.hosts[-1]))

    def _add(self, count: int, *, due: str, host: str) -> "Fleet":
        from mirroring.models import ImportState, Mirror

        mirror, state = Mirror.objects.get(pk=self.first), ImportState.objects.get(pk=self.first)
        source = _SERIES[_vendor()].format(first=self.count, last=count - 1)
        named = {"id": f"{self.first} + n", "name": "'mirror-' || n", "storage_id": _UUID[_vendor()]}
        copy(mirror, source, {**named, "url": "'http://host.example/' || n || '.git'", "host_id": host})
        times = {
            "next_execution_at": due,
            "import_due_at": due,
            "claimed_at": "NULL",
            "claim_expires_at": "NULL",
        }
        copy(state, source, {"mirror_id": f"{self.first} + n", "host_id": host, **times})
        move_sequences(mirror)
        return replace(self, count=count)


def make(count: int, *, now: datetime, hosts: int = 1000, seed: int = 1) -> Fleet:
    """Make a fleet in a database that has none."""
    from mirroring.catalog.adding import hosts_named
    from mirroring.models import Group, ImportState, Mirror

    named = hosts_named([f"host-{number:04}.example" for number in range(max(hosts, BIG_HOSTS + 1))])
    ids = tuple(sorted(host.pk for host in named.values()))
    require(ids[-1] - ids[0] + 1 == len(ids), otherwise="the ids of the hosts have gaps")
    host = next(iter(named.values()))
    mirror = Mirror.objects.create(
        group=Group.objects.create(name="fleet"),
        name="mirror-0",
        url="http://host.example/0.git",
        host=host,
    )
    ImportState.objects.create(
        mirror=mirror, host=host, next_execution_at=now, import_due_at=now, last_successful_update_at=now
    )
    return Fleet(first=mirror.pk, count=1, hosts=ids, now=now, seed=seed).grow(count)


def _host_of(ids: tuple[int, ...], *, seed: int) -> str:
    dice = f"((n * {_SPREAD} + {seed}) % {_PRIME})"
    rest = len(ids) - BIG_HOSTS
    big, small = f"{ids[0]} + ({dice} / 2) % {BIG_HOSTS}", f"{ids[BIG_HOSTS]} + ({dice} / 2) % {rest}"
    return f"CASE WHEN {dice} % 2 = 0 THEN {big} ELSE {small} END"


def _earlier(now: datetime, *, spread: timedelta, seed: int) -> str:
    milliseconds = int(spread / timedelta(milliseconds=1))
    seconds = f"((n * {_SPREAD} + {seed} * 7919) % {_PRIME}) * {milliseconds / _PRIME / 1000}"
    moment = f"{now:%Y-%m-%d %H:%M:%S}{'+00' if _vendor() == 'postgresql' else ''}"
    return _BEFORE[_vendor()].format(moment=moment, seconds=seconds)


def copy(row: Any, source: str, expressions: Mapping[str, str]) -> None:
    """Copy a row of a model once for each row of a source that has a column n, which stands in the expressions."""
    from django.db import connection, transaction

    columns = [field.column for field in row._meta.concrete_fields]
    values = [expressions.get(column, f"template.{column}") for column in columns]
    table, key = row._meta.db_table, row._meta.pk.column
    with transaction.atomic(), connection.cursor() as cursor:
        if _vendor() == "postgresql":
            # The rows are right by themselves: looking up each reference takes most of the time.
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute("SET LOCAL synchronous_commit = off")
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)}"
            f" FROM {source}, {table} AS template WHERE template.{key} = {row.pk}"
        )


def tidy() -> None:
    """Leave the tables as they are in a service that has run for a while. Not inside a transaction."""
    from django.db import connection

    statements = {
        "postgresql": (
            "VACUUM ANALYZE mirroring_importstate",
            "VACUUM ANALYZE mirroring_mirror",
            "CHECKPOINT",
        ),
        "sqlite": ("ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)"),
    }
    with connection.cursor() as cursor:
        for statement in statements[_vendor()]:
            cursor.execute(statement)


def move_sequences(row: Any) -> None:
    """Let the next row that is added get an id of its own."""
    from django.core.management.color import no_style
    from django.db import connection

    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [type(row)]):
            cursor.execute(statement)


def _vendor() -> str:
    from django.db import connection

    return connection.vendor
