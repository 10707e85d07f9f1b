"""Upstreams that redirect for good: a person accepts the new URL, or declines it. Nothing moves by itself."""

import logging
from collections.abc import Callable
from datetime import datetime

from mirroring.catalog.acting import reread
from mirroring.catalog.editing import edit
from mirroring.catalog.errors import NotNow
from mirroring.models import Decision, Mirror, Relocation

logger = logging.getLogger(__name__)


def proposal(mirror: Mirror) -> Relocation | None:
    """Return the move that waits for a decision, if there is one."""
    return Relocation.objects.proposal(mirror)


def accept_move(mirror: Mirror, *, now: datetime, wake: Callable[[], None], by: str) -> Mirror:
    """Mirror the URL that the upstream redirects to; it is imported now. Raise NotNow or Invalid."""
    row = _decide(mirror)
    edited = edit(mirror, now=now, wake=wake, url=row.to_url).mirror
    _write(row, Decision.ACCEPTED, now=now, by=by)
    return edited


def decline_move(mirror: Mirror, *, now: datetime, by: str) -> Mirror:
    """Go on with the URL as it is, and do not propose this move again. Raise NotNow."""
    _write(_decide(mirror), Decision.DECLINED, now=now, by=by)
    return reread(mirror)


def _decide(mirror: Mirror) -> Relocation:
    row = proposal(mirror)
    if row is None:
        raise NotNow(f"{mirror.path} has no move to decide about: its upstream does not redirect for good")
    return row


def _write(row: Relocation, decision: Decision, *, now: datetime, by: str) -> None:
    row.decision, row.decided_at, row.decided_by = decision, now, by
    row.save(update_fields=["decision", "decided_at", "decided_by"])
    fields = {"mirror": row.mirror_id, "to": row.to_url, "decision": str(decision), "by": by}
    logger.info("move of an upstream decided", extra=fields)
