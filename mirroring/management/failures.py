"""One clear line for what can go wrong around a command."""

import errno

from django.conf import settings
from django.db import Error, IntegrityError

_LINES = (
    (
        ("connection failed", "connection refused", "timeout expired", "server closed", "too many clients"),
        "The database cannot be reached ({detail}): see that it runs and that DATABASE_URL is right",
    ),
    (
        ("no such table", "no such column", "does not exist"),
        "The database has not the tables that this version needs: run `manage.py migrate` (`make up` does it too)",
    ),
    (("database is locked",), "The database was locked by another process for too long: try again"),
    (
        ("disk is full", "disk i/o error"),
        "The disk below {place} is full or broken: see to it, then try again",
    ),
    (("readonly database",), "The database in {place} cannot be written: run this as the user who owns it"),
    (
        ("read-only transaction",),
        "The database is read-only now (a standby, say) and nothing was changed: try again when it takes writes",
    ),
    (
        ("unable to open database file",),
        "The database in {place} cannot be opened: see its owner and permissions",
    ),
    (
        ("not a database", "malformed"),
        "The database in {place} is damaged or no SQLite file: restore it from a copy",
    ),
)


class Failed(Exception):
    """A command cannot do what it was asked to; the text says why and what to do next."""


def database_line(error: Error) -> str | None:
    """Return the line for an error of the database; None for one that only a bug can cause."""
    if isinstance(error, IntegrityError):
        return "Somebody else changed the same thing at the same moment: try again"
    text = str(error).strip()
    detail = text.partition("\n")[0][:200]
    for signs, line in _LINES:
        if any(sign in text.lower() for sign in signs):
            return line.format(place=settings.STATE_DIR, detail=detail)
    return None


def disk_line(error: OSError) -> str | None:
    """Return the line for a disk that takes nothing more; None for any other error of the system."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"No space is left ({error.filename or 'where the output goes'}): make room, then try again"
    return None
