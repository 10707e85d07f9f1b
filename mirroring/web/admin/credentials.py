"""Credentials: a list that warns before one ends, and a page on which a secret is set and never seen."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from mirroring import catalog
from mirroring.catalog.credential_facts import is_refused, state_words
from mirroring.catalog.errors import CatalogError
from mirroring.models import Credential, CredentialKind, Expiry, SchedulingSettings
from mirroring.models.key_list import KeysUnusable
from mirroring.rules.words import counted
from mirroring.tasks import wake_scheduler
from mirroring.tracker.connection import present
from mirroring.web.admin.bases import Page
from mirroring.web.admin.cells import badge
from mirroring.web.admin.credential_form import CredentialForm

TONES = {Expiry.PAST: "bad", Expiry.SOON: "warn", Expiry.FAR: "good", Expiry.NONE: "idle"}


class CredentialAdmin(Page[Credential]):
    """Kind, hosts, public half, end and use; the secret itself is written only."""

    form = CredentialForm
    list_display = ("path", "kind", "sent_to", "ends", "state", "mirrors")
    list_filter = ("kind",)
    list_select_related = ("group",)
    search_fields = ("name", "group__name")
    fields = CredentialForm.Meta.fields
    change_form_template = "mirroring/admin/credential.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Credential]:
        """Return the credentials with the numbers of their mirrors."""
        return (
            super()
            .get_queryset(request)
            .annotate(mirror_count=Count("mirrors", filter=Q(mirrors__deleted_at=None)))
        )

    @admin.display(ordering="name")
    def path(self, row: Credential) -> str:
        """Return the name."""
        return row.path

    @admin.display(description="sent to")
    def sent_to(self, row: Credential) -> str:
        """Return the hosts."""
        return ", ".join(row.hosts)

    @admin.display(ordering="expires_at")
    def ends(self, row: Credential) -> SafeString:
        """Return when it ends, with a warning before that."""
        expiry = row.expiry(now=present(), warning=SchedulingSettings.current().credential_warning)
        if row.expires_at is None:
            return badge("no end known", TONES[expiry])
        words = {Expiry.PAST: "ended", Expiry.SOON: "ends soon", Expiry.FAR: "ends"}[expiry]
        text = catalog.in_words(row.expires_at, now=present())
        return format_html(
            "{} {}", badge(words, TONES[expiry], title=f"{row.expires_at:%Y-%m-%d %H:%M} UTC"), text
        )

    @admin.display
    def state(self, row: Credential) -> SafeString:
        """Return whether its upstream took it when it was last tried."""
        words = state_words(row, now=present())
        return badge(words, "bad", title=row.last_refusal) if is_refused(row) else format_html("{}", words)

    @admin.display(ordering="mirror_count")
    def mirrors(self, row: Credential) -> SafeString:
        """Return the number of mirrors that use it, as a link to them."""
        address = reverse("admin:mirroring_mirror_changelist")
        return format_html(
            '<a href="{}?credential={}">{}</a>', address, row.pk, getattr(row, "mirror_count", "")
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Credential | None = None) -> tuple[str, ...]:
        """Return what stays as it was made."""
        return ("name", "group", "kind") if obj else ()

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *arguments: Any, **kwargs: Any
    ) -> Any:
        """Put what may be known above the form."""
        row = context.get("original")
        context["facts"] = self._facts(row) if row else []
        return super().render_change_form(request, context, *arguments, **kwargs)

    def _facts(self, row: Credential) -> list[tuple[str, SafeString | str]]:
        now = present()
        names = [mirror.path for mirror in row.mirrors.filter(deleted_at=None).select_related("group")[:20]]
        facts: list[tuple[str, SafeString | str]] = [
            ("Kind", str(row.get_kind_display())),
            ("Ends", self.ends(row)),
            ("State", self.state(row)),
            ("Last refusal", row.last_refusal or "none"),
            ("Public half", format_html("<code>{}</code>", row.public_key) if row.public_key else ""),
            ("Fingerprint", format_html("<code>{}</code>", row.fingerprint) if row.fingerprint else ""),
            ("Changed", f"{catalog.in_words(row.changed_at, now=now)} by {row.changed_by}"),
            ("Mirrors", ", ".join(names) or "none"),
        ]
        return [(name, value) for name, value in facts if value]

    def save_model(
        self,
        request: HttpRequest,
        obj: Credential,
        form: "ModelForm[Credential]",
        change: bool,  # noqa: FBT001  (Django's)
    ) -> None:
        """Keep or replace as the command line does. The form's own instance is never saved."""
        assert isinstance(form, CredentialForm)  # noqa: S101
        by, now = f"admin:{request.user.get_username()}", present()
        if not change:
            made = catalog.add_credential(
                obj.name, kind=CredentialKind(obj.kind), given=form.given(), group=obj.group, by=by, now=now
            )
            obj.pk = made.pk
            return
        kept = Credential.objects.select_related("group").get(pk=obj.pk)
        if form.has_secret:
            done = catalog.replace_credential(kept, given=form.given(), by=by, now=now, wake=wake_scheduler)
            self.message_user(
                request, f"Imported because of the new secret: {counted(done.released, 'mirror')}"
            )
        elif "expires_at" in form.changed_data:
            catalog.set_expiry(kept, expires_at=form.cleaned_data["expires_at"], by=by, now=now)

    def delete_model(self, request: HttpRequest, obj: Credential) -> None:
        """Remove a credential that no mirror uses."""
        catalog.remove_credential(obj, by=f"admin:{request.user.get_username()}")

    @method_decorator(sensitive_post_parameters("secret"))
    def changeform_view(self, request: HttpRequest, *arguments: Any, **kwargs: Any) -> HttpResponse:
        """Show a refusal as a message, and leave everything as it was."""
        try:
            return super().changeform_view(request, *arguments, **kwargs)
        except (CatalogError, KeysUnusable) as refused:
            self.message_user(request, str(refused), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
