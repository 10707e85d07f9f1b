"""The claim as a good hand writes it if fairness is no matter: one statement, one index, the driver and nothing else.

`same columns`: a copy of our table with every column and check, and its one index by due time beside the primary key.
`narrow`: a table of nothing but what the statement needs.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

OURS = "mirroring_importstate"
SAME, NARROW = "bench_same", "bench_narrow"

_CLAIM = {
    "postgresql": """
UPDATE {table} SET epoch = epoch + 1, import_due_at = NULL, claimed_at = %s, claim_expires_at = %s
 WHERE mirror_id = ANY (ARRAY(SELECT mirror_id FROM {table} WHERE import_due_at <= %s
                              ORDER BY import_due_at LIMIT %s FOR UPDATE SKIP LOCKED))
RETURNING mirror_id, epoch""",
    "sqlite": """
UPDATE {table} SET epoch = epoch + 1, import_due_at = NULL, claimed_at = ?, claim_expires_at = ?
 WHERE mirror_id IN (SELECT mirror_id FROM {table} WHERE import_due_at <= ? ORDER BY import_due_at LIMIT ?)
RETURNING mirror_id, epoch""",
}
_COPY = {
    "postgresql": f"CREATE TABLE {SAME} (LIKE {OURS} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
    "sqlite": "",
}
_NARROW = f"""CREATE TABLE {NARROW} AS
SELECT mirror_id, host_id, epoch, import_due_at, claimed_at, claim_expires_at FROM {OURS}"""


def make_tables() -> None:
    """Copy the fleet into both tables. Not inside a transaction."""
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_COPY["postgresql"])
            cursor.execute(f"INSERT INTO {SAME} SELECT * FROM {OURS}")
        else:
            definition = "SELECT sql FROM sqlite_master WHERE name = %s"
            cursor.execute(cursor.execute(definition, [OURS]).fetchone()[0].replace(OURS, SAME))
            cursor.execute(f"INSERT INTO {SAME} SELECT * FROM {OURS}")
        cursor.execute(_NARROW)
        for table in (SAME, NARROW):
            cursor.execute(f"CREATE UNIQUE INDEX {table}_id ON {table} (mirror_id)")
            cursor.execute(f"CREATE INDEX {table}_due ON {table} (import_due_at)")
            cursor.execute(f"VACUUM ANALYZE {table}" if connection.vendor == "postgresql" else "ANALYZE")


def claimer(connection: Any, table: str, *, vendor: str) -> Callable[[int, datetime, datetime], list[Any]]:
    """Return a claim of up to so many rows through a connection of the bare driver."""
    statement = _CLAIM[vendor].format(table=table)

    def claim(limit: int, now: datetime, until: datetime) -> list[Any]:
        values = [now, until, now] if vendor == "postgresql" else [_text(now), _text(until), _text(now)]
        cursor = connection.execute(statement, [*values, limit])
        rows: list[Any] = cursor.fetchall()
        if vendor == "sqlite":
            connection.commit()
        return rows

    return claim


def _text(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(sep=" ")
