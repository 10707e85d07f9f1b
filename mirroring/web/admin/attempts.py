"""The history of imports: as a list of all, and below each mirror."""

from functools import cached_property
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from mirroring.models import ImportAttempt, Mirror
from mirroring.web.admin import cells
from mirroring.web.admin.bases import ReadOnlyPage, TabularInline

SHOWN = 20
COUNTED = 10_000
"""Attempts that can be paged through; counting millions of them would cost more than it tells."""


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts at most so many rows."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows that can be paged through."""
        rows: Any = self.object_list
        return int(rows.order_by()[:COUNTED].count())


class AttemptCells:
    """The columns of a history."""

    @admin.display(description="ended")
    def result(self, attempt: ImportAttempt) -> SafeString:
        """Return how the attempt ended, or that it runs."""
        if attempt.ended_at is None:
            return cells.badge("running", "busy")
        return cells.outcome(attempt.outcome, attempt.error, whole=True)

    @admin.display(description="took")
    def took(self, attempt: ImportAttempt) -> str:
        """Return how long it ran."""
        return cells.span(attempt.started_at, attempt.ended_at)


class AttemptAdmin(AttemptCells, ReadOnlyPage[ImportAttempt]):
    """All attempts, the latest first."""

    list_display = ("started_at", "mirror", "result", "took", "refs_changed", "worker", "epoch")
    list_display_links = ("started_at",)
    list_filter = ("outcome",)
    list_select_related = ("mirror__group",)
    search_fields = ("=mirror__name", "=mirror__group__name")
    search_help_text = "The exact name of a mirror or of a group."
    ordering = ("-id",)
    sortable_by = ()
    paginator = CappedPaginator
    show_full_result_count = False


class AttemptInline(AttemptCells, TabularInline[ImportAttempt, Mirror]):
    """The last attempts of one mirror, to read."""

    model = ImportAttempt
    verbose_name_plural = f"last attempts (up to {SHOWN})"
    fields = readonly_fields = ("started_at", "result", "took", "refs_changed", "worker", "epoch")
    can_delete = False
    extra = max_num = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[ImportAttempt]:
        """Return the last attempts of the mirror whose page this is."""
        match = request.resolver_match
        mirror_id = match.kwargs.get("object_id") if match else None
        if mirror_id is None or not str(mirror_id).isdigit():
            return super().get_queryset(request).none()
        last = ImportAttempt.objects.filter(mirror_id=mirror_id).values_list("pk", flat=True)[:SHOWN]
        return super().get_queryset(request).filter(pk__in=list(last))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: history is written by the imports."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: history does not change."""
        return False
