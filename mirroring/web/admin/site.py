"""The admin site: its front page shows what runs now."""

from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse

from mirroring.tracker.connection import present
from mirroring.web.admin import overview

ORDER = ("Mirror", "Group", "Host", "Credential", "ImportAttempt", "Flag", "Rollout", "SchedulingSettings")

NAMES = {"Flag": "Feature flags"}  # The model's own plural is waffle's.


class MirroringAdminSite(AdminSite):
    """Django's admin, with our front page."""

    site_header = "Mirroring"
    site_title = "Mirroring"
    index_title = "Overview"
    site_url = None  # The front page is this one.
    index_template = "mirroring/admin/index.html"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show the front page, to those who may see mirrors."""
        context: dict[str, Any] = {"flower_url": settings.FLOWER_URL, **(extra_context or {})}
        if request.user.has_perm("mirroring.view_mirror"):
            context["overview"] = overview.gather(now=present())
        return super().index(request, context)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the menu in the order of use, not of the alphabet."""
        apps = super().get_app_list(request, app_label)
        for app in apps:
            app["models"].sort(key=lambda model: _place(model["object_name"]))
            for model in app["models"]:
                model["name"] = NAMES.get(model["object_name"], model["name"])
        return sorted(apps, key=lambda app: app["app_label"] != "mirroring")


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)
