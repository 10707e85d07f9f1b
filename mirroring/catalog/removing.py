"""Removing mirrors, bringing them back, and forgetting them for good."""

import logging
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import IntegrityError, transaction

from mirroring.catalog.acting import reread
from mirroring.catalog.errors import NameTaken, NotNow
from mirroring.catalog.wanted import check_name
from mirroring.models import ImportState, Mirror
from mirroring.upstream.disk import folders

logger = logging.getLogger(__name__)

KEEP_REMOVED = timedelta(days=7)
"""How long a removed mirror can be restored, its repository with it."""


def remove(mirror: Mirror, *, now: datetime) -> Mirror:
    """Remove a mirror: its name is free at once, and for KEEP_REMOVED it can be restored. Raise NotNow."""
    with transaction.atomic():
        if not Mirror.objects.filter(pk=mirror.pk, deleted_at=None).update(deleted_at=now):
            raise NotNow(f"{mirror.path} is already removed")
        ImportState.objects.filter(mirror_id=mirror.pk).deactivate()
    logger.info("mirror removed", extra={"mirror": mirror.pk})
    return reread(mirror)


def restore(mirror: Mirror, *, now: datetime, wake: Callable[[], None], name: str | None = None) -> Mirror:
    """Bring a removed mirror back, under another name if one is given. Raise NameTaken, NotNow or Invalid."""
    name = mirror.name if name is None else check_name(name, what="mirror")
    # The same bound as in the purge, so that no mirror is restored while its repository goes.
    removed = Mirror.objects.filter(pk=mirror.pk, deleted_at__gt=now - KEEP_REMOVED)
    with transaction.atomic():
        try:
            with transaction.atomic():
                restored = removed.update(deleted_at=None, name=name)
        except IntegrityError:
            path = f"{mirror.group.name}/{name}"
            raise NameTaken(
                f"{path} is taken by now: rename that one, or restore under another name"
            ) from None
        if not restored:
            raise NotNow(
                f"{mirror.path} cannot be restored: it was not removed within {KEEP_REMOVED.days} days"
            )
        if Mirror.objects.filter(pk=mirror.pk, paused_at=None).exists():
            ImportState.objects.filter(mirror_id=mirror.pk).activate(now=now)
            transaction.on_commit(wake)
    logger.info("mirror restored", extra={"mirror": mirror.pk})
    return reread(mirror)


def purge_removed(*, now: datetime, limit: int) -> int:
    """Forget at most `limit` mirrors whose time to be restored is over, rows and repositories; return how many.

    Safe to call at any time, also after a kill in the middle: what an earlier call left behind goes as well.
    """
    past = Mirror.objects.filter(deleted_at__lte=now - KEEP_REMOVED, state__claim_expires_at=None)
    purged = sum(_purge(mirror) for mirror in past.order_by("deleted_at", "pk")[:limit])
    if purged:
        logger.info("removed mirrors purged", extra={"mirrors": purged})
    for folder in _trash().iterdir() if _trash().exists() else ():
        # What cannot be deleted now is tried again by the next call.
        folders.remove(folder)
    return purged


def _purge(mirror: Mirror) -> bool:
    """Delete one mirror's rows and move its repository into the trash; both, or neither."""
    with transaction.atomic():
        # Asked again under the lock: the mirror may have been restored since it was read.
        row = Mirror.objects.select_for_update().filter(pk=mirror.pk, deleted_at=mirror.deleted_at).first()
        if row is None:
            return False
        row.delete()
        # Before the commit: rows that are gone lead to no repository, a repository that is gone is fetched again.
        if mirror.repository.exists():
            _trash().mkdir(mode=0o700, parents=True, exist_ok=True)
            mirror.repository.rename(_trash() / f"{mirror.storage_id.hex}.{uuid.uuid4().hex[:8]}")
    return True


def _trash() -> Path:
    return Path(settings.REPOSITORIES_DIR) / ".purged"
