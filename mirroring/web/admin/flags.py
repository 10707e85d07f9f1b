"""The feature flags: all that are defined, each with its audit. Changed through `mirroring.flags.changes` alone."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import Error as DatabaseError
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    QueryDict,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from mirroring.flags import actors, changes, clock, gates, registry, shown
from mirroring.flags.actors import UnknownActor
from mirroring.flags.changes import Change, Origin
from mirroring.flags.models import Flag
from mirroring.flags.moves import share
from mirroring.flags.state import in_words
from mirroring.models.change_freeze import ChangeFreeze
from mirroring.models.flag_change import FlagChange
from mirroring.web.admin.bases import Page

LIST = "admin:mirroring_flag_changelist"
SHOWN_CHANGES = 50


class FlagAdmin(Page[Flag]):
    """A list with switches, and a page for each; flags are made and named by the code, never here."""

    def get_urls(self) -> list[URLPattern]:
        """Return the list, the pages and the switch, and none of Django's forms."""
        wrap = self.admin_site.admin_view
        return [
            path("", wrap(self.changelist_view), name="mirroring_flag_changelist"),
            path("<str:name>/", wrap(self.flag_view), name="mirroring_flag_page"),
            path("<str:name>/set/", wrap(self.set_view), name="mirroring_flag_set"),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show every flag."""
        context = {
            "title": "Feature flags",
            "flags": shown.every(now=clock.now()),
            "freeze": ChangeFreeze.current(),
        }
        return self._page(request, "flags", {**context, **(extra_context or {})})

    def flag_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Show one flag: its definition, what may be done with it, and who did what."""
        flag = _named(name)
        context = {
            "title": flag,
            "flag": shown.one(flag, now=clock.now()),
            "definition": registry.definition(flag),
            "gates": gates.names(),
            "changes": [_line(entry) for entry in FlagChange.objects.filter(flag=flag)[:SHOWN_CHANGES]],
        }
        return self._page(request, "flag", context)

    def _page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        always = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "may_change": self.has_change_permission(request),
        }
        return TemplateResponse(request, f"mirroring/admin/{template}.html", {**always, **context})

    def set_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Change one flag, or put it back to its default."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        flag = _named(name)
        self._set(request, flag)
        back = reverse("admin:mirroring_flag_page", args=[flag]) if "page" in request.POST else reverse(LIST)
        return HttpResponseRedirect(back)

    def _set(self, request: HttpRequest, flag: str) -> None:
        form = request.POST
        try:
            entry = changes.change_flag(
                flag,
                _asked(form, flag),
                by=request.user.get_username(),
                origin=Origin.ADMIN,
                why=form.get("why", "").strip(),
                overrides=frozenset(form.getlist("override")),
            )
        except (changes.FlagRefused, UnknownActor) as refused:
            self.message_user(request, str(refused), messages.ERROR)
            return
        except DatabaseError as error:
            said = str(error).strip().partition("\n")[0]
            self.message_user(
                request, f"Nothing was changed: the database does not take it ({said})", messages.ERROR
            )
            return
        text = "back to its default" if form["to"] == "default" else in_words(entry.after)
        self.message_user(request, f"{flag} is {text}", messages.SUCCESS)
        for note in (*shown.without_effect(shown.every(now=clock.now())), *shown.dropped(entry)):
            self.message_user(request, note, messages.WARNING)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: a flag is defined in the repository."""
        return False


def _named(name: str) -> str:
    try:
        return registry.named(name)
    except registry.UnknownFlag as error:
        raise Http404(str(error)) from None


def _asked(form: QueryDict, flag: str) -> Change:
    """Return the change that the form asks for."""
    to, actor = form.get("to", ""), form.get("actor", "").strip()
    kept = (actors.parse(actor, of=registry.definition(flag)),) if actor else ()
    match to:
        case "on" | "off":
            return Change(on=to == "on")
        case "default":
            return Change(forget=True)
        case "percentage":
            return Change(percentage=share(form.get("percentage", "")))
        case "add":
            return Change(actors_add=kept)
        case "remove":
            return Change(actors_remove=kept)
        case _:
            raise Http404("A flag is set to on, off, default, a percentage or actors")


def _line(entry: FlagChange) -> dict[str, Any]:
    words = {"before_words": in_words(entry.before), "after_words": in_words(entry.after)}
    return {"entry": entry, **words}
