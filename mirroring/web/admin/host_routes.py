"""How a host is reached and which SSH keys are its own, on its page: each change is an act of the catalog."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from mirroring.catalog import hosts
from mirroring.catalog.errors import CatalogError
from mirroring.models import Host
from mirroring.upstream.access.ssh import fingerprint

FIELDS = {"proxy": "Proxy", "ca_bundle": "CA bundle", "client_certificate": "Client certificate"}


def _set(host: Host, request: HttpRequest, by: str) -> str:
    hosts.edit_host(host.name, by=by, **{field: request.POST.get(field, "").strip() for field in FIELDS})
    return f"{host.name} is reached as you said from the next contact on"


def _look(host: Host, request: HttpRequest, by: str) -> str:
    shown = [
        f"{fingerprint(key)} {key.split()[0]}{' (pinned)' if key in host.known_hosts else ''}"
        for key in hosts.offered_keys(host.name)
    ]
    return f"{host.name} shows these keys now: {', '.join(shown)}. Compare before you pin one"


def _trust(host: Host, request: HttpRequest, by: str) -> str:
    # Typed, not clicked: whoever types it has a second place to read it from.
    hosts.trust(host.name, by=by, fingerprint=request.POST.get("fingerprint", "").strip())
    return "The key is pinned"


def _distrust(host: Host, request: HttpRequest, by: str) -> str:
    hosts.distrust(host.name, by=by, fingerprint=request.POST.get("fingerprint", ""))
    return "The key is pinned no more"


ACTS: dict[str, Callable[[Host, HttpRequest, str], str]] = {
    "set": _set,
    "look": _look,
    "trust": _trust,
    "distrust": _distrust,
}


class HostRoutes:
    """The part of a host's page that can be changed."""

    admin_site: Any

    def get_urls(self) -> list[URLPattern]:
        """Add the address behind the buttons."""
        act = self.admin_site.admin_view(self.route_view)
        added = path("<int:host_id>/route/<str:verb>/", act, name="mirroring_host_route")
        return [added, *super().get_urls()]  # type: ignore[misc]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *arguments: Any, **kwargs: Any
    ) -> Any:
        """Show the way to the host and its keys."""
        host = context.get("original")
        if host is not None:
            context["way"] = [(field, label, getattr(host, field)) for field, label in FIELDS.items()]
            context["keys"] = [(fingerprint(key), key.split()[0]) for key in host.known_hosts]
            context["may_act"] = _may_change(request)
        return super().render_change_form(request, context, *arguments, **kwargs)  # type: ignore[misc]

    def route_view(self, request: HttpRequest, host_id: int, verb: str) -> HttpResponse:
        """Do one thing to one host, and say how it went."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not _may_change(request):
            raise PermissionDenied
        host = Host.objects.filter(pk=host_id).first()
        if host is None or verb not in ACTS:
            raise Http404("No such host or act")
        try:
            messages.success(request, ACTS[verb](host, request, request.user.get_username()))
        except CatalogError as refused:
            messages.error(request, str(refused))
        return HttpResponseRedirect(reverse("admin:mirroring_host_change", args=[host_id]))


def _may_change(request: HttpRequest) -> bool:
    return request.user.has_perm("mirroring.change_host")
