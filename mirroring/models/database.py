"""Whether the database takes writes at all."""

from django.db import DatabaseError, connections, router

from mirroring.models.import_state import ImportState


def is_writable() -> bool:
    """Say whether rows can be written: not on a standby, not in a read-only session, not while it is away."""
    connection = connections[router.db_for_write(ImportState)]
    try:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(
                    "SELECT current_setting('transaction_read_only') = 'off' AND NOT pg_is_in_recovery()"
                )
                return bool(cursor.fetchone()[0])
            cursor.execute("PRAGMA query_only")
            return not cursor.fetchone()[0]
    except DatabaseError:
        return False
