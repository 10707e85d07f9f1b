"""Groups and the tokens that open them."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.cache import add_never_cache_headers
from django.utils.html import format_html
from django.utils.safestring import SafeString

from mirroring.catalog import groups
from mirroring.catalog.errors import CatalogError
from mirroring.models import Group, GroupToken
from mirroring.tracker.connection import present
from mirroring.web.admin.bases import Page

TOKENS = "admin:mirroring_group_tokens"


class GroupAdmin(Page[Group]):
    """Name, owner, contact, who may clone; the tokens have a page of their own."""

    list_display = ("name", "owner", "contact", "public", "mirrors", "tokens")
    list_filter = ("public",)
    search_fields = ("name", "owner", "contact")
    fields = ("name", "owner", "contact", "public")
    change_form_template = "mirroring/admin/group.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        """Return the groups with the numbers of their mirrors and valid tokens."""
        valid = GroupToken.objects.filter(group=OuterRef("pk"), revoked_at=None).order_by().values("group")
        return (
            super()
            .get_queryset(request)
            .annotate(
                mirror_count=Count("mirrors", filter=Q(mirrors__deleted_at=None)),
                # A subquery, for a second join would multiply the tokens with the mirrors.
                token_count=Coalesce(Subquery(valid.annotate(count=Count("pk")).values("count")), 0),
            )
        )

    @admin.display(ordering="mirror_count")
    def mirrors(self, group: Group) -> SafeString:
        """Return the number of mirrors, as a link to them."""
        address = reverse("admin:mirroring_mirror_changelist")
        return format_html(
            '<a href="{}?group={}">{}</a>', address, group.pk, getattr(group, "mirror_count", "")
        )

    @admin.display(description="valid tokens")
    def tokens(self, group: Group) -> SafeString:
        """Return the number of tokens, as a link to them."""
        return format_html(
            '<a href="{}">{}</a>', reverse(TOKENS, args=[group.pk]), getattr(group, "token_count", "")
        )

    def save_model(
        self,
        request: HttpRequest,
        obj: Group,
        form: "ModelForm[Group]",
        change: bool,  # noqa: FBT001  (Django's)
    ) -> None:
        """Make or change the group as the command line does."""
        values = {name: form.cleaned_data[name] for name in (form.changed_data if change else form.fields)}
        if change:
            if values:
                groups.edit_group(Group.objects.get(pk=obj.pk), **values)
        else:
            obj.pk = groups.add_group(values.pop("name"), **values).pk

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        """Delete a group that owns nothing."""
        groups.remove_group(obj)

    def changeform_view(self, request: HttpRequest, *arguments: Any, **kwargs: Any) -> HttpResponse:
        """Show a refusal as a message, and leave everything as it was."""
        try:
            return super().changeform_view(request, *arguments, **kwargs)
        except CatalogError as refused:
            self.message_user(request, str(refused), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def get_urls(self) -> list[URLPattern]:
        """Add the page of a group's tokens."""
        tokens = self.admin_site.admin_view(self.tokens_view)
        return [path("<int:group_id>/tokens/", tokens, name="mirroring_group_tokens"), *super().get_urls()]

    def tokens_view(self, request: HttpRequest, group_id: int) -> HttpResponse:
        """List the tokens of a group, issue one, revoke one. A token's text is on the page that issued it only."""
        group = Group.objects.filter(pk=group_id).first()
        if group is None:
            raise Http404("No such group")
        if not self.has_change_permission(request, group):
            raise PermissionDenied
        issued = self._change_tokens(request, group) if request.method == "POST" else ""
        context = {
            **self.admin_site.each_context(request),
            "title": f"Tokens of {group}",
            "opts": self.opts,
            "media": self.media,
            "group": group,
            "issued": issued,
            "tokens": group.tokens.order_by("revoked_at", "name"),
        }
        response = TemplateResponse(request, "mirroring/admin/tokens.html", context)
        add_never_cache_headers(response)
        return response

    def _change_tokens(self, request: HttpRequest, group: Group) -> str:
        """Issue or revoke as the form asks, and return the text of a new token."""
        try:
            if name := request.POST.get("revoke"):
                groups.revoke_token(group, name=name, now=present())
                self.message_user(request, f"The token {name} opens nothing any more", messages.SUCCESS)
            else:
                return groups.add_token(group, name=request.POST.get("name", "").strip())[1]
        except CatalogError as refused:
            self.message_user(request, str(refused), messages.ERROR)
        return ""
