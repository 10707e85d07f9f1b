"""The filters of the mirror list."""

from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Count, Model, Q, QuerySet
from django.http import HttpRequest

from mirroring.models import Credential, Group, Host, ImportState, Mirror, SchedulingSettings
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import Status
from mirroring.tracker.connection import present
from mirroring.web.freshness import is_stale

SHOWN = 15
"""Groups or hosts offered: the largest ones. The pages of groups and hosts lead to any other."""

Choices = list[tuple[str, str]]


class StatusFilter(admin.SimpleListFilter):
    """By status."""

    title = parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the statuses."""
        return [(status, status) for status in Status]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Mirror]) -> QuerySet[Mirror]:
        """Return the mirrors in the status."""
        return queryset.filter(state__status=self.value()) if self.value() else queryset


class OutcomeFilter(admin.SimpleListFilter):
    """By how the last import ended."""

    title = "last outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the outcomes."""
        return [(outcome, outcome) for outcome in Outcome]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Mirror]) -> QuerySet[Mirror]:
        """Return the mirrors whose last import ended so."""
        return queryset.filter(state__last_outcome=self.value()) if self.value() else queryset


class YesNoFilter(admin.SimpleListFilter):
    """By whether something holds."""

    def condition(self) -> Q:
        """Return what holds."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return yes and no."""
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Mirror]) -> QuerySet[Mirror]:
        """Return the mirrors for which it does, or does not."""
        match self.value():
            case "yes":
                return queryset.filter(self.condition())
            case "no":
                return queryset.exclude(self.condition())
            case _:
                return queryset


class StaleFilter(YesNoFilter):
    """By whether the last success is too long ago."""

    title = parameter_name = "stale"

    def condition(self) -> Q:
        """Return the condition as the list judges it."""
        stale = is_stale(now=present(), cadence=SchedulingSettings.current().cadence)
        return Q(pk__in=ImportState.objects.filter(stale).values("mirror_id"))


class HardFailedFilter(YesNoFilter):
    """By whether a person is needed."""

    title = "hard failed"
    parameter_name = "hard_failed"

    def condition(self) -> Q:
        """Return the condition."""
        return Q(state__hard_failed=True)


class OverdueFilter(YesNoFilter):
    """By whether the mirror is due and waits for a slot."""

    title = "waits for a slot"
    parameter_name = "overdue"

    def condition(self) -> Q:
        """Return the condition."""
        return Q(state__import_due_at__lte=present())


class PausedFilter(YesNoFilter):
    """By whether somebody paused the mirror."""

    title = parameter_name = "paused"

    def condition(self) -> Q:
        """Return the condition."""
        return Q(paused_at__isnull=False)


class RemovedFilter(admin.SimpleListFilter):
    """Removed mirrors are out of sight unless asked for."""

    title = parameter_name = "removed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the one other choice."""
        return [("yes", "Yes")]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Return the choices, with the first named for what it does."""
        for choice in super().choices(changelist):
            yield {**choice, "display": "No"} if choice["display"] != "Yes" else choice

    def queryset(self, request: HttpRequest, queryset: QuerySet[Mirror]) -> QuerySet[Mirror]:
        """Return the removed mirrors, or the kept ones."""
        return queryset.filter(deleted_at__isnull=self.value() != "yes")


class LargestFilter(admin.SimpleListFilter):
    """By one of the largest groups or hosts, or by the one that a link names."""

    model: ClassVar[type[Model]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the largest, and the one asked for."""
        field = str(self.parameter_name)
        kept = Mirror.objects.filter(deleted_at=None, **{f"{field}__isnull": False}).order_by()
        largest = kept.values_list(field).annotate(mirrors=Count("pk")).order_by("-mirrors")[:SHOWN]
        asked = request.GET.get(field, "")
        wanted = [pk for pk, _ in largest] + ([int(asked)] if asked.isdigit() else [])
        names = self.model._default_manager.in_bulk(wanted)
        return [(str(pk), str(names[pk])) for pk in dict.fromkeys(wanted) if pk in names]

    def has_output(self) -> bool:
        """Show the filter also where there is one choice: it says what the list is narrowed to."""
        return bool(self.lookup_choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Mirror]) -> QuerySet[Mirror]:
        """Return the mirrors of the group or host."""
        value = self.value()
        return (
            queryset.filter(**{f"{self.parameter_name}_id": int(value)})
            if value and value.isdigit()
            else queryset
        )


class GroupFilter(LargestFilter):
    """By group."""

    title = parameter_name = "group"
    model = Group


class HostFilter(LargestFilter):
    """By upstream host."""

    title = parameter_name = "host"
    model = Host


class CredentialFilter(LargestFilter):
    """By what is shown to the upstream."""

    title = parameter_name = "credential"
    model = Credential


ALL = (
    StatusFilter,
    OutcomeFilter,
    StaleFilter,
    HardFailedFilter,
    OverdueFilter,
    PausedFilter,
    RemovedFilter,
    GroupFilter,
    HostFilter,
    CredentialFilter,
)
