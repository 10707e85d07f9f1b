"""The mirrors: a list that says how old each copy is and why, and a page for each."""

from typing import Any

from django.contrib import messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from mirroring.catalog.adding import add
from mirroring.catalog.editing import NoCredential, edit
from mirroring.catalog.errors import CatalogError
from mirroring.catalog.moving import proposal
from mirroring.catalog.wanted import want
from mirroring.models import Mirror
from mirroring.tasks import wake_scheduler
from mirroring.tracker.connection import present
from mirroring.web.admin import mirror_actions, mirror_filters
from mirroring.web.admin.attempts import AttemptInline
from mirroring.web.admin.bases import Page
from mirroring.web.admin.mirror_actions import MirrorActions
from mirroring.web.admin.mirror_cells import FULL_PATH, Glance, MirrorCells, MirrorChangeList, facts, show
from mirroring.web.admin.mirror_form import MirrorForm


class MirrorAdmin(MirrorCells, MirrorActions, Page[Mirror]):
    """Mirrors as an operator sees them. Their state is shown, and changed by acts only."""

    form = MirrorForm
    fields = ("group", "name", "url", "credential", "ref_selection", "ref_patterns", "on_divergence")
    inlines = (AttemptInline,)
    list_display = ("path", "status", "checked", "next_run", "last_outcome", "upstream", "shown")
    list_filter = mirror_filters.ALL
    list_select_related = ("group", "host", "state", "credential__group")
    ordering = (
        "group_id",
        "name",
    )  # What the index of the names yields without sorting, for any number of rows.
    search_fields = ("full_path", "url")
    search_help_text = "A part of group/name or of the upstream's URL."
    autocomplete_fields = ("group", "credential")
    change_form_template = "mirroring/admin/mirror.html"
    actions = mirror_actions.NAMES

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Mirror], search_term: str
    ) -> tuple[QuerySet[Mirror], bool]:
        """Search the names that people know mirrors by. Without a term the names are not put together."""
        named = queryset.annotate(full_path=FULL_PATH) if search_term else queryset
        return super().get_search_results(request, named, search_term)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list whose ages are measured from one instant."""
        return MirrorChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list."""
        return super().changelist_view(request, {"title": "Mirrors", **(extra_context or {})})

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Mirror | None:
        """Return a mirror with everything that its page shows."""
        if not object_id.isdigit():
            return None
        mirror = (
            Mirror.objects.select_related("group", "host", "state", "credential__group")
            .filter(pk=object_id)
            .first()
        )
        return show(mirror, Glance.take()) if mirror else None

    def get_inlines(self, request: HttpRequest, obj: Mirror | None = None) -> Any:
        """Return the history, for a mirror that can have one."""
        return self.inlines if obj else ()

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *arguments: Any, **kwargs: Any
    ) -> Any:
        """Put the state above the form."""
        mirror = context.get("original")
        context["facts"] = facts(mirror) if mirror else []
        context["moved"] = proposal(mirror) if mirror else None
        context["may_act"] = self.has_change_permission(request)
        return super().render_change_form(request, context, *arguments, **kwargs)

    def save_model(self, request: HttpRequest, obj: Mirror, form: Any, change: bool) -> None:  # noqa: FBT001  (Django's)
        """Add or edit as the command line does. The form's own instance is never saved."""
        values = form.cleaned_data
        divergence = values["on_divergence"]
        group, name, url, refs = values["group"].name, values["name"], values["url"], form.refs()
        if change:
            kept = Mirror.objects.select_related("group").get(pk=obj.pk)
            edit(
                kept,
                now=present(),
                wake=wake_scheduler,
                group=group,
                name=name,
                url=url,
                refs=refs,
                credential=values["credential"] or NoCredential(),
                on_divergence=divergence,
            )
        else:
            credential = values["credential"]
            wanted = want(
                url, group=group, name=name, refs=refs, credential=credential, on_divergence=divergence
            )
            obj.pk = add(wanted, now=present(), wake=wake_scheduler).pk

    def changeform_view(self, request: HttpRequest, *arguments: Any, **kwargs: Any) -> HttpResponse:
        """Show a refusal as a message, and leave everything as it was."""
        try:
            return super().changeform_view(request, *arguments, **kwargs)
        except CatalogError as refused:
            self.message_user(request, str(refused), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def get_urls(self) -> list[URLPattern]:
        """Add the address behind the buttons of a mirror's page."""
        act = self.admin_site.admin_view(self.act_view)
        return [
            path("<int:mirror_id>/act/<str:verb>/", act, name="mirroring_mirror_act"),
            *super().get_urls(),
        ]

    def act_view(self, request: HttpRequest, mirror_id: int, verb: str) -> HttpResponse:
        """Do one thing to one mirror."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        mirror = Mirror.objects.select_related("group").filter(pk=mirror_id).first()
        if mirror is None or verb not in mirror_actions.SENTENCES:
            raise Http404("No such mirror or action")
        mirror_actions.run(request, verb, [mirror], reason=request.POST.get("reason", ""))
        return HttpResponseRedirect(reverse("admin:mirroring_mirror_change", args=[mirror_id]))

    def has_change_permission(self, request: HttpRequest, obj: Mirror | None = None) -> bool:
        """Refuse to edit a mirror that is removed: it has to be restored first."""
        return super().has_change_permission(request, obj) and (obj is None or obj.deleted_at is None)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: mirrors are removed, and can be restored for some days."""
        return False
