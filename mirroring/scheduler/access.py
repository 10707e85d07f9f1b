"""What a mirror's upstream asks for: handed to one import, and how it went, noted on the credential."""

from datetime import datetime, timedelta

from django.db import DatabaseError

from mirroring.models import Credential, Mirror
from mirroring.rules.outcomes import SUCCESSES, Outcome
from mirroring.upstream.access.credentials import Secret
from mirroring.upstream.access.unsealing import secret_for
from mirroring.upstream.policy import urls

NOTED_EVERY = timedelta(minutes=1)


def secret_of(mirror: Mirror, *, now: datetime, valid_for: timedelta) -> Secret | None:
    """Return what the import of a mirror may show its upstream; None if it has no credential.

    Raise GitError: the credential cannot be used, or what it is exchanged for cannot be had now.
    """
    if mirror.credential is None:
        return None
    return secret_for(mirror.credential, url=urls.parse(mirror.url), now=now, valid_for=valid_for)


def within(secret: Secret | None, timeout: timedelta, *, now: datetime) -> timedelta:
    """Return the time that a job may take: it ends before what it was given does."""
    if secret is None or secret.valid_until is None:
        return timeout
    return min(timeout, secret.valid_until - now)


def note(credential: Credential | None, *, outcome: Outcome, error: str, now: datetime) -> None:
    """Keep when a credential was last used and last refused. Never in the way of an import."""
    if credential is None:
        return
    row = Credential.objects.filter(pk=credential.pk)
    try:
        if outcome is Outcome.AUTH:
            # Of the secret that was refused only: it may have been replaced meanwhile.
            row.filter(sealed=credential.sealed).update(last_refused_at=now, last_refusal=error[:500])
        elif outcome in SUCCESSES and now - (credential.last_used_at or now - NOTED_EVERY) >= NOTED_EVERY:
            row.update(last_used_at=now)
    except DatabaseError:
        return
