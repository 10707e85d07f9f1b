"""Guarded rollouts: the list, and a page for each with the curve of every guard and the steps on it."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from mirroring.models import Rollout
from mirroring.rollout import controller, stepping
from mirroring.rollout.curves import HEIGHT, WIDTH, curves
from mirroring.rollout.rolling_back import RolloutRefused, utc_now
from mirroring.tracker.connection import connect
from mirroring.web.admin.bases import ReadOnlyPage

PAGE = "admin:mirroring_rollout_change"


class RolloutAdmin(ReadOnlyPage[Rollout]):
    """What has been rolled out, how it went, and the buttons of one that is under way."""

    list_display = ("flag", "state", "shadow", "started_by", "started_at", "ended_at")
    list_filter = ("state", "flag")

    def get_urls(self) -> list[URLPattern]:
        """Return the list, the page and its buttons."""
        wrap = self.admin_site.admin_view
        return [
            path("", wrap(self.changelist_view), name="mirroring_rollout_changelist"),
            path("<int:number>/change/", wrap(self.rollout_view), name="mirroring_rollout_change"),
            path("<int:number>/act/", wrap(self.act_view), name="mirroring_rollout_act"),
        ]

    def rollout_view(self, request: HttpRequest, number: int) -> HttpResponse:
        """Show one rollout."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        rollout = _rollout(number)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Rollout of {rollout.flag}",
            "opts": self.opts,
            "media": self.media,
            "rollout": rollout,
            "steps": [stepping.step_of(rollout, at) for at in range(len(rollout.steps))],
            "curves": curves(rollout, now=utc_now()) if rollout.steps else [],
            "width": WIDTH,
            "height": HEIGHT,
            "may_act": rollout.active and _may_act(request),
        }
        return TemplateResponse(request, "mirroring/admin/rollout.html", context)

    def act_view(self, request: HttpRequest, number: int) -> HttpResponse:
        """Pause, resume or abort it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not _may_act(request):
            raise PermissionDenied
        rollout, by = _rollout(number), request.user.get_username()
        try:
            self._act(rollout, request.POST.get("act", ""), by=by, why=request.POST.get("why", ""))
        except RolloutRefused as refused:
            self.message_user(request, str(refused), messages.ERROR)
        return HttpResponseRedirect(reverse(PAGE, args=[number]))

    def _act(self, rollout: Rollout, act: str, *, by: str, why: str) -> None:
        if not rollout.active:
            raise RolloutRefused(f"This rollout is over: {rollout.state}")
        if act == "pause":
            controller.pause(rollout.flag, by=by, why=why)
        elif act == "resume":
            controller.resume(rollout.flag, by=by, why=why)
        elif act == "abort":
            controller.abort(rollout.flag, by=by, why=why, tracker=connect())
        else:
            raise Http404("A rollout is paused, resumed or aborted")


def _may_act(request: HttpRequest) -> Any:
    return request.user.has_perm("mirroring.change_rollout") or request.user.has_perm("mirroring.change_flag")


def _rollout(number: int) -> Rollout:
    found = Rollout.objects.filter(pk=number).first()
    if found is None:
        raise Http404("There is no such rollout")
    return found
