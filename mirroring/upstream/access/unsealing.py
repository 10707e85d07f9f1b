"""From a credential's row to the secret for one contact: bound to its hosts, not past its end, and long enough good."""

import threading
from collections import defaultdict
from datetime import datetime, timedelta

from mirroring.logs import hide
from mirroring.models import Credential, CredentialKind
from mirroring.models.key_list import KeysUnusable
from mirroring.rules.outcomes import Outcome
from mirroring.rules.sealing import CannotOpen
from mirroring.upstream.access import github_app
from mirroring.upstream.access.credentials import Secret, SecretKind
from mirroring.upstream.errors import CredentialUnusable, GitError
from mirroring.upstream.policy.urls import UpstreamURL

MARGIN = timedelta(minutes=1)
"""A job that uses a token ends this long before the token does."""

REUSED_FOR = timedelta(minutes=10)
"""Of a job that may take longer than any token lives: it gets a token that was made so long ago at most."""

_minting: dict[int, threading.Lock] = defaultdict(threading.Lock)


def secret_for(
    credential: Credential, *, url: UpstreamURL, now: datetime, valid_for: timedelta, mints: bool = True
) -> Secret:
    """Return the secret for contacts with one upstream, good for `valid_for`, or for as long as `valid_until` says.

    `mints`: where no kept token is good for so long, its maker is asked for one, which may take a while.

    Raise CredentialUnusable: it is bound to other hosts, has ended, or its maker refuses it. Raise GitError where it
    cannot be opened, or what it is exchanged for cannot be had now.
    """
    if why := credential.misfit(scheme=url.scheme, host=url.host):
        raise CredentialUnusable(f"The credential {why}")
    if credential.expires_at is not None and credential.expires_at <= now:
        raise CredentialUnusable(
            f"The credential {credential.path} ended on {credential.expires_at:%Y-%m-%d}: replace it"
        )
    try:
        return _open(credential, now=now, valid_for=valid_for, mints=mints)
    except (CannotOpen, KeysUnusable) as error:
        # Our own trouble: when the keys are back, the mirrors go on by themselves.
        text = f"The credential {credential.path} cannot be opened ({error}): restore the keys, or replace it"
        raise GitError(Outcome.RESOURCE, text) from None


def _open(credential: Credential, *, now: datetime, valid_for: timedelta, mints: bool) -> Secret:
    match CredentialKind(credential.kind):
        case CredentialKind.SSH_KEY:
            key = credential.secret()["private_key"]
            hide(key)
            return Secret(SecretKind.SSH, private_key=key)
        case CredentialKind.GITHUB_APP:
            token = _installation_token(credential, now=now, valid_for=valid_for, mints=mints)
            hide(token.text, username=credential.username)
            until = token.expires_at - MARGIN
            return Secret(
                SecretKind.BASIC, username=credential.username, password=token.text, valid_until=until
            )
        case _:
            password = credential.secret()["password"]
            hide(password, username=credential.username)
            return Secret(SecretKind.BASIC, username=credential.username, password=password)


def _installation_token(
    credential: Credential, *, now: datetime, valid_for: timedelta, mints: bool
) -> github_app.Token:
    """Return a token that lives long enough: the kept one, or a new one, which is kept for others."""
    needed_until = now + min(valid_for + MARGIN, github_app.TOKEN_LIFE - REUSED_FOR)
    with _minting[credential.pk]:  # Fifty imports that start at once in this process ask for one token.
        credential.refresh_from_db(fields=["sealed", "sealed_token", "token_expires_at"])
        kept = credential.token()
        if kept and credential.token_expires_at and credential.token_expires_at >= needed_until:
            return github_app.Token(kept, credential.token_expires_at)
        if not mints:
            raise GitError(Outcome.TRANSIENT, f"The credential {credential.path} has no token at hand")
        key = credential.secret()["private_key"]
        hide(key)
        token = github_app.new_token(
            github_app.Installation(
                app_id=credential.app_id, number=credential.installation_id, api_url=credential.api_url
            ),
            private_key=key,
            now=now,
        )
        credential.set_token(token.text, expires_at=token.expires_at)
        # Not if the secret was replaced meanwhile: this token is the old one's.
        Credential.objects.filter(pk=credential.pk, sealed=credential.sealed).update(
            sealed_token=credential.sealed_token, token_expires_at=token.expires_at
        )
        return token
