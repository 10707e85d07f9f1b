"""Requests from Slack that were taken, so that none is taken twice."""

from datetime import datetime, timedelta

from django.db import models

KEPT = timedelta(minutes=15)
"""Longer than the window in which a signature is accepted at all, on both sides of it."""


class SlackRequest(models.Model):
    """One signed request. The signature covers body and time, so the same one is the same request."""

    signature = models.CharField(max_length=100, unique=True)
    taken_at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.signature

    @classmethod
    def take(cls, signature: str, *, now: datetime) -> bool:
        """Note a request. False if it was taken before; of two that race, one gets True."""
        cls.objects.filter(taken_at__lt=now - KEPT).delete()
        return cls.objects.get_or_create(signature=signature, defaults={"taken_at": now})[1]
