"""Pause, resume, update now, retry, cancel: what people do to a mirror while it is kept.

Each act is a guarded UPDATE first; only where it found nothing to change is the row read, to say why.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from django.db import transaction

from mirroring.catalog.errors import NotNow
from mirroring.models import ImportState, Mirror

logger = logging.getLogger(__name__)

MAX_REASON = 500


def pause(mirror: Mirror, *, now: datetime, reason: str = "") -> Mirror:
    """Let nothing import the mirror until it is resumed; an import in flight is stopped. Raise NotNow."""
    with transaction.atomic():
        guard = Mirror.objects.filter(pk=mirror.pk, deleted_at=None, paused_at=None)
        if not guard.update(paused_at=now, pause_reason=reason[:MAX_REASON]):
            raise _refusal(mirror, otherwise="cannot be paused")
        ImportState.objects.filter(mirror_id=mirror.pk).deactivate()
    logger.info("mirror paused", extra={"mirror": mirror.pk})
    return reread(mirror)


def resume(mirror: Mirror, *, now: datetime, wake: Callable[[], None]) -> Mirror:
    """Take a paused mirror up again, with an import now, and forgive its failures. Raise NotNow."""
    with transaction.atomic():
        guard = Mirror.objects.filter(pk=mirror.pk, deleted_at=None, paused_at__isnull=False)
        if not guard.update(paused_at=None, pause_reason=""):
            raise _refusal(mirror, otherwise="is not paused: there is nothing to resume")
        state = ImportState.objects.filter(mirror_id=mirror.pk)
        state.activate(now=now)
        state.ask_now(now=now)
        transaction.on_commit(wake)
    logger.info("mirror resumed", extra={"mirror": mirror.pk})
    return reread(mirror)


def sync(mirror: Mirror, *, now: datetime, wake: Callable[[], None]) -> Mirror:
    """Have the mirror imported before every backlog, or once more if an import is in flight. Raise NotNow."""
    with transaction.atomic():
        if not ImportState.objects.filter(mirror_id=mirror.pk).ask_now(now=now):
            raise _refusal(mirror, otherwise="cannot be imported now")
        transaction.on_commit(wake)
    logger.info("import asked for", extra={"mirror": mirror.pk})
    return reread(mirror)


def retry(mirror: Mirror, *, now: datetime, wake: Callable[[], None]) -> Mirror:
    """Forgive a mirror that failed too often, and have it imported now. Raise NotNow."""
    with transaction.atomic():
        if not ImportState.objects.filter(mirror_id=mirror.pk, hard_failed=True).ask_now(now=now):
            raise _refusal(mirror, otherwise="has not failed for good: ask for an import instead")
        transaction.on_commit(wake)
    logger.info("hard failure forgiven", extra={"mirror": mirror.pk})
    return reread(mirror)


def cancel(mirror: Mirror) -> Mirror:
    """Stop the import in flight; the mirror is imported again when it is next due. Raise NotNow."""
    if not ImportState.objects.filter(mirror_id=mirror.pk).ask_cancel():
        raise NotNow(f"{mirror.path} has no import in flight: there is nothing to cancel")
    logger.info("import canceled", extra={"mirror": mirror.pk})
    return reread(mirror)


def reread(mirror: Mirror) -> Mirror:
    """Return the mirror as the database has it now, with its group, host and state."""
    return Mirror.objects.select_related("group", "host", "state", "credential__group").get(pk=mirror.pk)


def _refusal(mirror: Mirror, *, otherwise: str) -> NotNow:
    """Say why an act found nothing to change."""
    row = Mirror.objects.select_related("group").filter(pk=mirror.pk).first()
    if row is None:
        return NotNow(f"{mirror.path} is gone for good: add it again")
    if row.deleted_at is not None:
        return NotNow(f"{row.path} was removed: restore it first")
    reason = f" ({row.pause_reason})" if row.pause_reason else ""
    return NotNow(
        f"{row.path} is paused{reason}: resume it first" if row.paused_at else f"{row.path} {otherwise}"
    )
