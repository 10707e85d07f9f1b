"""Changing what a mirror mirrors, and what it is called."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction

from mirroring.catalog.acting import reread
from mirroring.catalog.adding import groups_named, hosts_named
from mirroring.catalog.errors import NameTaken, NothingToChange, NotNow
from mirroring.catalog.wanted import Refs, check_fits, check_name, check_url, read_url
from mirroring.models import Credential, ImportState, Mirror, OnDivergence

logger = logging.getLogger(__name__)

REFETCH = frozenset({"url", "ref_selection", "ref_patterns", "credential", "on_divergence"})
"""The fields that decide what is fetched: a change of one makes every earlier answer of the upstream worthless."""


class NoCredential:
    """Says that a mirror is to have no credential any more."""


@dataclass(frozen=True)
class Edited:
    """The mirror as it is now, the fields that changed, and whether an import was asked for."""

    mirror: Mirror
    changed: tuple[str, ...]
    asked_now: bool


def edit(
    mirror: Mirror,
    *,
    now: datetime,
    wake: Callable[[], None],
    url: str | None = None,
    name: str | None = None,
    group: str | None = None,
    refs: Refs | None = None,
    credential: Credential | NoCredential | None = None,
    on_divergence: str | None = None,
) -> Edited:
    """Change a mirror; None leaves a field alone. Its repository stays; a new URL or selection is imported now.

    Raise Invalid, NameTaken, NothingToChange, or NotNow for a mirror that is removed.
    """
    if all(value is None for value in (url, name, group, refs, credential, on_divergence)):
        raise NothingToChange("Nothing to change: say what, for example the URL or the name")
    with transaction.atomic():
        # Locked, so that of two edits at once the second is judged against what the first has written.
        row = Mirror.objects.select_for_update().filter(pk=mirror.pk, deleted_at=None).first()
        if row is None:
            raise NotNow(f"{mirror.path} was removed: restore it first")
        wanted = _wanted(row, url=url, name=name, group=group, refs=refs)
        if credential is not None:
            wanted["credential"] = credential if isinstance(credential, Credential) else None
        if on_divergence is not None:
            wanted["on_divergence"] = OnDivergence(on_divergence)
        changed = _change(row, wanted)
        asked_now = bool(REFETCH & changed) and _fetch_anew(row, now=now)
        if asked_now:
            transaction.on_commit(wake)
    logger.info(
        "mirror edited", extra={"mirror": mirror.pk, "fields": sorted(changed), "asked_now": asked_now}
    )
    return Edited(mirror=reread(mirror), changed=tuple(sorted(changed)), asked_now=asked_now)


def _wanted(
    row: Mirror, *, url: str | None, name: str | None, group: str | None, refs: Refs | None
) -> dict[str, object]:
    """Return the checked values of the fields that were given. The URL is judged only where it changes."""
    wanted: dict[str, object] = {}
    if url is not None and read_url(url).url != row.url:
        wanted["url"] = check_url(url).url
    if name is not None:
        wanted["name"] = check_name(name, what="mirror")
    if group is not None:
        wanted["group"] = groups_named([check_name(group, what="group")])[group]
    if refs is not None:
        wanted |= {"ref_selection": refs.selection, "ref_patterns": list(refs.patterns)}
    return wanted


def _change(row: Mirror, wanted: dict[str, object]) -> set[str]:
    """Write what differs, and return the names of those fields."""
    changed = {field for field, value in wanted.items() if getattr(row, field) != value}
    for field in changed:
        setattr(row, field, wanted[field])
    upstream = read_url(row.url)
    # Also where another field changed: a credential that fitted must not follow the mirror to another host.
    check_fits(row.credential, upstream=upstream, group=row.group.name)
    if "url" in changed:
        host = upstream.host
        row.host = hosts_named([host])[host]
    if REFETCH & changed:
        row.config_version += 1
    try:
        with transaction.atomic():
            row.save(update_fields={*changed, "host", "config_version"})
    except IntegrityError:
        raise NameTaken(f"{row.path} is taken by another mirror: choose another name or group") from None
    return changed


def _fetch_anew(row: Mirror, *, now: datetime) -> bool:
    """Ask for an import. False for a paused mirror: it gets one when it is resumed."""
    state = ImportState.objects.filter(mirror_id=row.pk)
    state.update(host=row.host)
    return state.ask_now(now=now) > 0
