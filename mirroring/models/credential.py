"""What upstreams ask for before they let a mirror read. The secret itself is sealed, and nothing shows it."""

import json
import uuid
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import models
from django.db.models import Q

from mirroring.models import key_list
from mirroring.models.group import PATH_SEGMENT, Group
from mirroring.rules import sealing


class CredentialKind(models.TextChoices):
    """What is handed over, and how."""

    PASSWORD = "password", "user name and password or token"
    SSH_KEY = "ssh-key", "SSH key"
    GITHUB_APP = "github-app", "installation of a GitHub App"


class Expiry(StrEnum):
    """How far away the end of a credential is."""

    NONE = "none"
    FAR = "far"
    SOON = "soon"
    PAST = "past"


class Credential(models.Model):
    """A named secret that mirrors share, bound to the hosts that may be shown it."""

    group = models.ForeignKey(
        Group,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="credentials",
        help_text="Only mirrors of this group may use it; empty: all mirrors.",
    )
    name = models.CharField(max_length=200, validators=[PATH_SEGMENT])
    kind = models.CharField(max_length=10, choices=CredentialKind.choices)
    hosts = models.JSONField(help_text="The only hosts that it is ever sent to.")
    allow_http = models.BooleanField(default=False, help_text="May be sent without encryption, over http://.")
    username = models.CharField("user name", max_length=200, blank=True)
    app_id = models.CharField("app", max_length=100, blank=True)
    installation_id = models.CharField("installation", max_length=20, blank=True)
    api_url = models.CharField("API", max_length=500, blank=True)
    public_key = models.TextField(blank=True)
    fingerprint = models.CharField(max_length=100, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    seal_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    sealed = models.TextField(editable=False)
    sealed_token = models.TextField(blank=True, editable=False)
    token_expires_at = models.DateTimeField(null=True, editable=False)

    created_at = models.DateTimeField(editable=False)
    changed_at = models.DateTimeField(editable=False)
    changed_by = models.CharField(max_length=200, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    last_refused_at = models.DateTimeField(null=True, editable=False)
    last_refusal = models.CharField(max_length=500, blank=True, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["group", "name"], name="credential_of_a_group_unique"),
            models.UniqueConstraint(
                fields=["name"], condition=Q(group=None), name="global_credential_unique"
            ),
        ]

    def __str__(self) -> str:
        return self.path

    @property
    def path(self) -> str:
        """Return the name that people use: `group/name`, or `name` of one that is for all groups."""
        return f"{self.group.name}/{self.name}" if self.group else self.name

    def misfit(self, *, scheme: str, host: str) -> str:
        """Return why this must not be sent to an upstream; "" where it may. Asked before each hand-over."""
        ssh = scheme == "ssh"
        if ssh != (self.kind == CredentialKind.SSH_KEY):
            return f"{self.path} is no credential for {scheme}:// (it is: {self.get_kind_display()})"
        if host not in self.hosts:
            return f"{self.path} is bound to {', '.join(self.hosts)} and is not sent to {host}"
        if scheme == "http" and not self.allow_http:
            return f"{self.path} is not sent over http://, which everyone on the way can read: use https://"
        return ""

    def set_secret(self, **secret: str) -> None:
        """Seal a new secret; what was fetched with the old one is forgotten. The row is not saved."""
        self.sealed = self._seal(json.dumps(secret), "secret")
        self.sealed_token, self.token_expires_at = "", None

    def secret(self) -> dict[str, str]:
        """Return the secret in clear. For the hand-over to one process only. Raise CannotOpen or KeysUnusable."""
        opened: dict[str, str] = json.loads(self._unseal(self.sealed, "secret"))
        return opened

    def set_token(self, token: str, *, expires_at: datetime) -> None:
        """Seal a short-lived token that was fetched with the secret. The row is not saved."""
        self.sealed_token, self.token_expires_at = self._seal(token, "token"), expires_at

    def token(self) -> str:
        """Return the short-lived token in clear, "" if there is none. Raise CannotOpen or KeysUnusable."""
        return self._unseal(self.sealed_token, "token") if self.sealed_token else ""

    def expiry(self, *, now: datetime, warning: timedelta) -> Expiry:
        """Say how far away the end is; `warning` before it, it is soon."""
        if self.expires_at is None:
            return Expiry.NONE
        if self.expires_at <= now:
            return Expiry.PAST
        return Expiry.SOON if self.expires_at <= now + warning else Expiry.FAR

    def _seal(self, text: str, column: str) -> str:
        return sealing.seal(text, keys=key_list.read(), context=f"{self.seal_id}:{column}")

    def _unseal(self, sealed: str, column: str) -> str:
        return sealing.unseal(sealed, keys=key_list.read(), context=f"{self.seal_id}:{column}")

    def reseal(self) -> None:
        """Seal by the key that is now the first. The row is not saved. Raise CannotOpen or KeysUnusable."""
        self.sealed = self._seal(self._unseal(self.sealed, "secret"), "secret")
        if self.sealed_token:
            self.sealed_token = self._seal(self._unseal(self.sealed_token, "token"), "token")
