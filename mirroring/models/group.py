"""Groups own mirrors, and say who may clone them."""

import hashlib
import hmac
import secrets
from typing import Self

from django.core.validators import RegexValidator
from django.db import models

PATH_SEGMENT = RegexValidator(
    r"\A(?!.*\.git\Z)[A-Za-z0-9_][A-Za-z0-9._-]{0,199}\Z",
    "Use letters, digits, '.', '_' and '-', starting with a letter, a digit or '_', and not ending in '.git'.",
)


class Group(models.Model):
    """A name space for mirrors, with somebody to ask."""

    name = models.CharField(max_length=200, unique=True, validators=[PATH_SEGMENT])
    owner = models.CharField(
        max_length=200, blank=True, help_text="The team or person that answers for these mirrors."
    )
    contact = models.CharField(
        max_length=200, blank=True, help_text="Where the owner is reached: address or channel."
    )
    public = models.BooleanField(
        default=True,
        help_text="Everyone who reaches this server may clone; off: holders of a token of the group.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def admits(self, token: str) -> bool:
        """Say whether `token` opens this group for cloning."""
        digest = GroupToken.digest_of(token)
        live = self.tokens.filter(revoked_at=None).values_list("digest", flat=True)
        return sum(hmac.compare_digest(digest, kept) for kept in live) > 0


class GroupToken(models.Model):
    """A token that lets its holder clone the mirrors of one group; only its digest is kept."""

    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=200, help_text="Who or what holds it.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["group", "name"]

    def __str__(self) -> str:
        return f"{self.group}: {self.name}"

    @staticmethod
    def digest_of(token: str) -> str:
        """Return the form in which a token is kept. It holds 256 random bits, so one plain hash is enough."""
        return hashlib.sha256(token.encode()).hexdigest()

    @classmethod
    def issue(cls, group: Group, name: str) -> tuple[Self, str]:
        """Make a token and return it with its clear text, which is shown this once."""
        token = f"mrt_{secrets.token_urlsafe(32)}"
        return cls.objects.create(group=group, name=name, digest=cls.digest_of(token)), token
