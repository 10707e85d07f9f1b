"""What may be known of a credential: everything but its secret."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from mirroring.catalog.freshness import in_words
from mirroring.models import Credential, Expiry, SchedulingSettings, key_list
from mirroring.rules import sealing

_SHOWN = (
    "kind",
    "hosts",
    "allow_http",
    "username",
    "app_id",
    "installation_id",
    "api_url",
    "public_key",
    "fingerprint",
    "expires_at",
    "created_at",
    "changed_at",
    "changed_by",
    "last_used_at",
    "last_refused_at",
    "last_refusal",
)


@dataclass(frozen=True)
class CredentialCensus:
    """How many credentials end when, how many were refused when last tried, how many no key opens."""

    expiries: dict[str, int]
    refused: int
    unopened: int


def facts_of(row: Credential, *, now: datetime) -> dict[str, object]:
    """Return a credential as scripts see it."""
    mirrors = row.mirrors.filter(deleted_at=None).select_related("group") if row.pk else []
    expiry = row.expiry(now=now, warning=SchedulingSettings.current().credential_warning)
    return {
        "name": row.path,
        **{name: getattr(row, name) for name in _SHOWN},
        "expiry": str(expiry),
        "mirrors": [mirror.path for mirror in mirrors],
    }


def is_refused(row: Credential) -> bool:
    """Say whether the upstream refused it when it was last tried."""
    return row.last_refused_at is not None and row.last_refused_at > (row.last_used_at or row.created_at)


def state_words(row: Credential, *, now: datetime) -> str:
    """Return whether it is used, and whether its upstream last took it."""
    if is_refused(row):
        return f"refused {in_words(row.last_refused_at, now=now)}"
    return f"used {in_words(row.last_used_at, now=now)}" if row.last_used_at else "not used yet"


def count_credentials(*, now: datetime, configured: SchedulingSettings) -> CredentialCensus:
    """Count the credentials that mirrors use by how far their end is."""
    expiries = {str(expiry): 0 for expiry in Expiry}
    refused = unopened = 0
    names: set[str] | None = None
    for row in Credential.objects.filter(Q(mirrors__deleted_at=None, mirrors__isnull=False)).distinct():
        expiries[row.expiry(now=now, warning=configured.credential_warning)] += 1
        refused += is_refused(row)
        names = _key_names() if names is None else names
        unopened += sealing.key_of(row.sealed) not in names
    return CredentialCensus(expiries=expiries, refused=refused, unopened=unopened)


def _key_names() -> set[str]:
    try:
        return {sealing.key_id(key) for key in key_list.read()}
    except key_list.KeysUnusable:
        return set()
