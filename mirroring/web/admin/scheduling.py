"""The scheduling settings: one row, so its list leads to it."""

from typing import Any

from django.db import transaction
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from mirroring.models import SchedulingSettings
from mirroring.tasks import wake_scheduler
from mirroring.web.admin.bases import Page


class SchedulingSettingsAdmin(Page[SchedulingSettings]):
    """The form of the one row. What is saved holds for the next run of every process."""

    fieldsets = (
        ("Stop", {"fields": ("paused_all", "silent_mode")}),
        ("Capacity", {"fields": ("mirror_max_capacity", "mirror_capacity_threshold")}),
        (
            "When a mirror is imported next",
            {
                "fields": (
                    "mirror_min_delay_seconds",
                    "mirror_max_delay_seconds",
                    "mirror_jitter_seconds",
                    "mirror_max_retry",
                )
            },
        ),
        (
            "Leases, ticks and deadlines",
            {
                "fields": (
                    "lease_seconds",
                    "tick_seconds",
                    "repair_tick_seconds",
                    "fetch_timeout_seconds",
                    "schedule_wait_timeout_seconds",
                    "reschedule_wait_seconds",
                )
            },
        ),
        ("Warnings", {"fields": ("credential_warning_days",)}),
    )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Lead to the one row."""
        return HttpResponseRedirect(reverse("admin:mirroring_schedulingsettings_change", args=[1]))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> SchedulingSettings:
        """Return the row, made with its defaults where it is missing."""
        return SchedulingSettings.objects.get_or_create(pk=1)[0]

    def save_model(
        self,
        request: HttpRequest,
        obj: SchedulingSettings,
        form: "ModelForm[SchedulingSettings]",
        change: bool,  # noqa: FBT001  (Django's)
    ) -> None:
        """Write the changed fields only, so that two people can change different ones at once."""
        obj.save(update_fields=form.changed_data)
        transaction.on_commit(wake_scheduler)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: the row is there."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: the row stays."""
        return False
