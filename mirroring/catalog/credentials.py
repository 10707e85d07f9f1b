"""What people do to credentials. A secret goes in and never comes out again."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError, Q

from mirroring.catalog.credential_values import Given, check_hosts, fill
from mirroring.catalog.errors import CatalogError, Invalid, NameTaken, Unknown
from mirroring.catalog.wanted import check_name
from mirroring.models import Credential, CredentialKind, Group, ImportState
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import IN_FLIGHT

logger = logging.getLogger(__name__)

SHOWN = 5


class CredentialInUse(CatalogError):
    """A credential that mirrors use cannot be removed."""


@dataclass(frozen=True)
class Replaced:
    """A credential with its new secret, and how many mirrors are imported because of it."""

    credential: Credential
    released: int = field(default=0)


def find_credential(path: str) -> Credential:
    """Return the credential called `group/name`, or `name` of one that is for all groups. Raise Unknown."""
    group, _, name = path.rpartition("/")
    owner = Q(group__name=group) if group else Q(group=None)
    found = Credential.objects.select_related("group").filter(owner, name=name).first()
    if found is None:
        raise Unknown(f"There is no credential {path!r}: `manage.py credential list` shows those there are")
    return found


def add_credential(
    name: str, *, kind: CredentialKind, given: Given, group: Group | None, by: str, now: datetime
) -> Credential:
    """Make a credential. Raise Invalid or NameTaken."""
    row = Credential(
        name=check_name(name, what="credential"),
        group=group,
        kind=kind,
        created_at=now,
        expires_at=given.expires_at,
    )
    if not given.hosts:
        raise Invalid("Say which host it is for: a credential is sent to no other")
    _change(row, given, by=by, now=now)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise NameTaken(
            f"There is a credential {row.path!r} already: replace it, or choose another name"
        ) from None
    logger.info("credential added", extra={"credential": row.pk, "kind": row.kind, "by": by})
    return row


def replace_credential(
    credential: Credential, *, given: Given, by: str, now: datetime, wake: Callable[[], None]
) -> Replaced:
    """Give a credential a new secret, and have the mirrors imported that waited for one. Raise Invalid or Unknown.

    Where it is sent to is changed here only: who wants it sent elsewhere has to know the secret.
    """
    with transaction.atomic():
        row = Credential.objects.select_for_update(of=("self",)).filter(pk=credential.pk).first()
        if row is None:
            raise Unknown(f"The credential {credential.path!r} was removed meanwhile: add it again")
        _change(row, given, by=by, now=now)
        row.expires_at = given.expires_at
        row.last_refused_at, row.last_refusal = None, ""
        row.save(force_update=True)
        released = release(Q(mirror__credential=row), now=now)
        transaction.on_commit(wake)
    logger.info("credential replaced", extra={"credential": row.pk, "by": by, "mirrors": released})
    return Replaced(credential=row, released=released)


def set_expiry(credential: Credential, *, expires_at: datetime | None, by: str, now: datetime) -> Credential:
    """Change when a credential ends."""
    Credential.objects.filter(pk=credential.pk).update(expires_at=expires_at, changed_at=now, changed_by=by)
    logger.info("expiry of a credential changed", extra={"credential": credential.pk, "by": by})
    return find_credential(credential.path)


def remove_credential(credential: Credential, *, by: str) -> None:
    """Remove a credential that no mirror uses. Raise CredentialInUse."""
    try:
        with transaction.atomic():
            credential.delete()
    except (ProtectedError, IntegrityError):
        users = list(credential.mirrors.select_related("group").order_by("deleted_at", "pk")[: SHOWN + 1])
        names = ", ".join(
            f"{mirror.path}{' (removed)' if mirror.deleted_at else ''}" for mirror in users[:SHOWN]
        )
        more = ", ..." if len(users) > SHOWN else ""
        raise CredentialInUse(
            f"The credential {credential.path!r} is used by {names}{more}: "
            "give them another (`manage.py mirror edit NAME --credential OTHER`, or --no-credential)"
        ) from None
    logger.info("credential removed", extra={"credential": credential.path, "by": by})


def release(mirrors: Q, *, now: datetime) -> int:
    """Make the mirrors due that were refused by their upstreams; those in flight run once more. Return how many."""
    refused = Q(last_outcome=Outcome.AUTH, claim_expires_at=None)
    return ImportState.objects.filter(mirrors, refused | Q(status__in=IN_FLIGHT)).ask_now(now=now)


def _change(row: Credential, given: Given, *, by: str, now: datetime) -> None:
    fill(row, given)
    if given.hosts:
        row.hosts = check_hosts(given.hosts, kind=CredentialKind(row.kind))
    if given.allow_http is not None:
        row.allow_http = given.allow_http
    row.changed_at, row.changed_by = now, by
