"""How long an overloaded server asks to be left alone: git reads `Retry-After` and tells nobody."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from mirroring.rules.hosts import RETRY_AFTER_LONGEST, Signal
from mirroring.upstream.access import redirects
from mirroring.upstream.access.contact import Contact
from mirroring.upstream.client.http1 import Head
from mirroring.upstream.errors import GitError

ASK_SECONDS = 5.0
"""The import has failed already: no more than this is spent on learning for how long."""

ASKS = frozenset({429, 503})
_REFUSED = re.compile(r"returned error: (429|503)\b")
_SECONDS = re.compile(r"\A\d{1,9}\Z")


def told(error: GitError, contact: Contact) -> GitError:
    """Return the failure of a git command with the pause that the server asks for, if it is one of those.

    The server is asked once more, through the same contact. Whatever goes wrong leaves the failure as it is.
    """
    if error.signal is not Signal.OVERLOADED or not _REFUSED.search(error.detail):
        return error
    try:
        head = redirects.ask(contact, seconds=ASK_SECONDS)
    except GitError:
        return error
    pause = retry_after(head, now=datetime.now(tz=UTC)) if head.status in ASKS else None
    return GitError(error.outcome, error.detail, signal=error.signal, retry_after=pause)


def retry_after(head: Head, *, now: datetime) -> timedelta | None:
    """Return the pause that an answer asks for, at most RETRY_AFTER_LONGEST. None: it asks for none that we can read.

    A date is taken against the server's own clock, where the answer has it.
    """
    text = head.fields.get(b"retry-after", b"").decode("latin-1").strip()
    if _SECONDS.match(text):
        return min(timedelta(seconds=int(text)), RETRY_AFTER_LONGEST)
    until = _moment(text)
    if until is None:
        return None
    since = _moment(head.fields.get(b"date", b"").decode("latin-1")) or now
    return min(max(until - since, timedelta(0)), RETRY_AFTER_LONGEST)


def _moment(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
