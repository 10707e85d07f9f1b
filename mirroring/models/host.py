"""Upstream hosts: what limits and health are counted by. Every import that ends reports to its host's row."""

from collections.abc import Collection
from dataclasses import fields
from datetime import datetime
from typing import ClassVar

from django.db import models

from mirroring.models.among import among
from mirroring.models.prepared import PreparedSelect
from mirroring.rules.hosts import REASON_LENGTH, Bounds, Report, Signal, Standing, after

ATTEMPTS = 5
"""Writers of one row that may come in between before a report is dropped: the next one says the same."""

_KNOWN = tuple(field.name for field in fields(Standing))


class HostQuerySet(models.QuerySet["Host"]):
    """Questions about hosts, and what is heard of them."""

    def limits(self, pks: Collection[int], *, bounds: Bounds, now: datetime) -> dict[int, int]:
        """Return how many imports each of the hosts may have in flight."""
        return {host.pk: host.limit(bounds, now=now) for host in _named(self, pks=list(pks))}

    def hear(self, pk: int, report: Report, *, bounds: Bounds, now: datetime, dice: float) -> None:
        """Take in what an import found out. A host that has all it may have costs no write."""
        if report.signal is Signal.NONE or not bounds.adaptive:
            return
        for _ in range(ATTEMPTS):
            known = self.get(pk=pk).standing
            learned = after(known, report, bounds=bounds, now=now, dice=dice)
            if learned == known or self.filter(pk=pk, **vars(known)).update(**vars(learned)):
                return


@PreparedSelect
def _named(rows: HostQuerySet, *, pks: list[int]) -> HostQuerySet:
    return rows.filter(pk__in=among(pks, using=rows.db)).order_by()


class Host(models.Model):
    """One upstream server, by name and, where it is not the scheme's own, port."""

    name = models.CharField(
        max_length=261, unique=True, help_text="Host name, with :port where it is not the usual one."
    )
    proxy = models.CharField(
        max_length=300, blank=True, help_text="The HTTP proxy on the way there: http://HOST:PORT."
    )
    ca_bundle = models.CharField(
        "CA bundle",
        max_length=500,
        blank=True,
        help_text="A file, on every worker, with the certificates that sign this host's.",
    )
    client_certificate = models.CharField(
        max_length=500, blank=True, help_text="A file, on every worker, with our certificate and its key."
    )
    known_hosts = models.JSONField(default=list, blank=True, editable=False)
    """The pinned SSH host keys, each as "type base64"; changed only by `catalog.hosts`."""

    created_at = models.DateTimeField(auto_now_add=True)

    max_slots = models.PositiveIntegerField(
        null=True, blank=True, help_text="Imports that a person allows at once; empty: as many as it earns."
    )
    slots = models.PositiveIntegerField(null=True, editable=False)
    knee = models.PositiveIntegerField(null=True, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False)
    coolings = models.PositiveIntegerField(default=0, editable=False)
    cooling_until = models.DateTimeField(null=True, editable=False)
    cooling_reason = models.CharField(max_length=REASON_LENGTH, blank=True, editable=False)
    lowered_at = models.DateTimeField(null=True, editable=False)

    objects: ClassVar[models.Manager["Host"]] = HostQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def standing(self) -> Standing:
        """Return what its imports have found out."""
        return Standing(**{name: getattr(self, name) for name in _KNOWN})

    def limit(self, bounds: Bounds, *, now: datetime) -> int:
        """Return how many of its imports may be in flight."""
        return self.standing.limit(bounds, max_slots=self.max_slots, now=now)
