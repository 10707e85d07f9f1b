"""Tokens of the HTTP API: named, scoped, ending, and kept as digests only."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Self

from django.core.validators import MinLengthValidator
from django.db import models
from django.db.models import Q


class Scope(models.TextChoices):
    """What a token opens."""

    READ_FLAGS = "read_flags", "read flags and their audit"
    WRITE_FLAGS = "write_flags", "change flags, in the token's own name"
    READ_CREDENTIALS = "read_credentials", "see credentials, without their secrets"
    WRITE_CREDENTIALS = "write_credentials", "keep, replace and remove credentials, in the token's own name"
    CHATOPS = "chatops", "run ChatOps commands in the name of the person who typed them"


class ApiToken(models.Model):
    """A token of the HTTP API."""

    name = models.CharField(max_length=100, validators=[MinLengthValidator(1)])
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField()
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=200)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(revoked_at=None), name="one_live_token_of_a_name"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def digest_of(token: str) -> str:
        """Return the form in which a token is kept. It holds 256 random bits, so one plain hash is enough."""
        return hashlib.sha256(token.encode()).hexdigest()

    @classmethod
    def issue(
        cls, name: str, *, scopes: Sequence[Scope], by: str, now: datetime, expires_at: datetime | None
    ) -> tuple[Self, str]:
        """Make a token and return it with its clear text, which is shown this once."""
        token = f"mrapi_{secrets.token_urlsafe(32)}"
        row = cls.objects.create(
            name=name,
            digest=cls.digest_of(token),
            scopes=sorted(map(str, scopes)),
            created_at=now,
            created_by=by,
            expires_at=expires_at,
        )
        return row, token

    @classmethod
    def opened_by(cls, token: str, *, now: datetime) -> Self | None:
        """Return the row of a token that holds now."""
        row = cls.objects.filter(digest=cls.digest_of(token), revoked_at=None).first()
        return row if row and (row.expires_at is None or row.expires_at > now) else None
