"""What people do to mirrors in the admin: each is a function of the catalog, for one mirror or for many."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from mirroring.catalog import acting, moving, removing
from mirroring.catalog.errors import CatalogError
from mirroring.models import Mirror
from mirroring.rules.words import counted
from mirroring.tasks import wake_scheduler
from mirroring.tracker.connection import present

LIMIT = 1_000
"""Mirrors to one action: each is changed by itself, and a page has to answer."""

SHOWN_REFUSALS = 5
SHOWN_MIRRORS = 20

NAMES = ("update_now", "pause", "resume", "retry", "remove", "restore")

Act = Callable[[Mirror], Mirror]


@dataclass(frozen=True)
class Done:
    """What an action came to."""

    mirrors: int
    refusals: list[str]


def _later() -> None:
    """Wake nobody: the scheduler is woken once, after the last of many."""


def act_of(verb: str, *, now: datetime, reason: str = "", by: str = "") -> Act | None:
    """Return what a verb does to one mirror; None if there is no such verb."""
    acts: dict[str, Act] = {
        "sync": partial(acting.sync, now=now, wake=_later),
        "pause": partial(acting.pause, now=now, reason=reason),
        "resume": partial(acting.resume, now=now, wake=_later),
        "retry": partial(acting.retry, now=now, wake=_later),
        "remove": partial(removing.remove, now=now),
        "restore": partial(removing.restore, now=now, wake=_later),
        "accept_move": partial(moving.accept_move, now=now, wake=_later, by=by),
        "decline_move": partial(moving.decline_move, now=now, by=by),
    }
    return acts.get(verb)


SENTENCES = {
    "sync": "asked for an update now",
    "pause": "paused",
    "resume": "resumed",
    "retry": "to be tried again now",
    "remove": "removed; they can be restored for some days",
    "restore": "restored",
    "accept_move": "at the new URL now",
    "decline_move": "at the old URL still",
}


def perform(mirrors: Iterable[Mirror], act: Act) -> Done:
    """Do it to each; a refusal of one does not stop the others."""
    count, refusals = 0, []
    for mirror in mirrors:
        try:
            act(mirror)
            count += 1
        except CatalogError as refused:
            refusals.append(str(refused))
    if count:
        wake_scheduler()
    return Done(mirrors=count, refusals=refusals)


def run(request: HttpRequest, verb: str, mirrors: Iterable[Mirror], *, reason: str = "") -> None:
    """Do what a verb says to each mirror, and tell how it went."""
    act = act_of(verb, now=present(), reason=reason, by=request.user.get_username())
    if act is None:
        messages.error(request, f"There is no action {verb!r}")
        return
    done = perform(mirrors, act)
    if done.mirrors:
        noun = counted(done.mirrors, "mirror")
        messages.success(request, f"{noun} {SENTENCES[verb]}")
    for refusal in done.refusals[:SHOWN_REFUSALS]:
        messages.warning(request, f"Not done: {refusal}")
    if len(done.refusals) > SHOWN_REFUSALS:
        messages.warning(request, f"{len(done.refusals) - SHOWN_REFUSALS} more were refused")


def _action(verb: str, description: str) -> Any:
    @admin.action(description=description, permissions=["change"])
    def action(self: "MirrorActions", request: HttpRequest, queryset: QuerySet[Mirror]) -> None:
        run(request, verb, self.chosen(request, queryset))

    return action


class MirrorActions:
    """The actions of the list."""

    update_now = _action("sync", "Update now")
    resume = _action("resume", "Resume")
    retry = _action("retry", "Retry hard-failed ones")
    remove = _action("remove", "Remove (can be restored)")
    restore = _action("restore", "Restore removed ones")

    @admin.action(description="Pause …", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Mirror]) -> HttpResponse | None:
        """Ask for the reason, then pause."""
        mirrors = self.chosen(request, queryset)
        if not mirrors:
            return None
        if "reason" in request.POST:
            run(request, "pause", mirrors, reason=request.POST["reason"].strip())
            return None
        context = {
            **self.admin_site.each_context(request),  # type: ignore[attr-defined]
            "title": "Pause mirrors",
            "opts": Mirror._meta,
            "media": self.media,  # type: ignore[attr-defined]
            "mirrors": mirrors[:SHOWN_MIRRORS],
            "more": max(0, len(mirrors) - SHOWN_MIRRORS),
            "chosen": [mirror.pk for mirror in mirrors],
        }
        return TemplateResponse(request, "mirroring/admin/pause.html", context)

    def chosen(self, request: HttpRequest, queryset: QuerySet[Mirror]) -> list[Mirror]:
        """Return the mirrors that were ticked; none, and a message, if they are too many for one page."""
        mirrors = list(queryset.select_related("group")[: LIMIT + 1])
        if len(mirrors) <= LIMIT:
            return mirrors
        text = f"More than {LIMIT} mirrors were chosen: narrow the list with its filters, or use `manage.py mirror`"
        messages.error(request, text)
        return []
