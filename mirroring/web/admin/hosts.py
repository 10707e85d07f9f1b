"""Upstream hosts: how many imports each may have and why, how many mirrors it has, and how many of them fail."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, DateTimeField, Q, QuerySet, Value
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from mirroring.models import Host, SchedulingSettings
from mirroring.rules.hosts import bounds
from mirroring.rules.states import IN_FLIGHT
from mirroring.scheduler.host_state import described
from mirroring.tracker.connection import present
from mirroring.web.admin.bases import ReadOnlyPage
from mirroring.web.admin.cells import badge
from mirroring.web.admin.host_routes import HostRoutes

KEPT = Q(mirrors__deleted_at=None)


class HostAdmin(HostRoutes, ReadOnlyPage[Host]):
    """A list to read; hosts come and go with the mirrors, and what changes is an act of the catalog."""

    list_display = ("name", "imports", "mirrors", "in_flight", "failing", "hard_failed")
    search_fields = ("name",)
    change_form_template = "mirroring/admin/host.html"
    fields = ("name", "imports", "max_slots", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Host]:
        """Return the hosts with their counts."""
        configured = SchedulingSettings.current()
        return (
            super()
            .get_queryset(request)
            .annotate(
                # Read once for all rows.
                as_of=Value(present(), output_field=DateTimeField()),
                capacity=Value(configured.mirror_max_capacity),
                share=Value(configured.mirror_host_share_percent),
                adaptive=Value(configured.mirror_host_adaptive),
                mirror_count=Count("mirrors", filter=KEPT),
                in_flight_count=Count("mirrors", filter=KEPT & Q(mirrors__state__status__in=IN_FLIGHT)),
                failing_count=Count("mirrors", filter=KEPT & Q(mirrors__state__retry_count__gt=0)),
                hard_failed_count=Count("mirrors", filter=KEPT & Q(mirrors__state__hard_failed=True)),
            )
        )

    @admin.display(ordering="cooling_until")
    def imports(self, host: Host) -> SafeString:
        """Return how many imports of the host may run, or why it is left alone."""
        row: Any = host
        held_to = bounds(row.capacity, share_percent=row.share, adaptive=row.adaptive)
        state = described(host, held=self.in_flight(host), bounds=held_to, now=row.as_of)
        if state.cooling_until:
            return format_html("{} {}", badge("cooling", "warn"), state.sentence)
        return format_html("{}", state.sentence)

    @admin.display(ordering="mirror_count")
    def mirrors(self, host: Host) -> SafeString:
        """Return the number of mirrors, as a link to them."""
        address = reverse("admin:mirroring_mirror_changelist")
        return format_html('<a href="{}?host={}">{}</a>', address, host.pk, getattr(host, "mirror_count", ""))

    @admin.display(ordering="in_flight_count")
    def in_flight(self, host: Host) -> int:
        """Return the number of imports that hold a slot."""
        return int(getattr(host, "in_flight_count", 0))

    @admin.display(ordering="failing_count")
    def failing(self, host: Host) -> int:
        """Return the number of mirrors whose last import failed."""
        return int(getattr(host, "failing_count", 0))

    @admin.display(ordering="hard_failed_count", description="gave up")
    def hard_failed(self, host: Host) -> int:
        """Return the number of mirrors that wait for a person."""
        return int(getattr(host, "hard_failed_count", 0))
