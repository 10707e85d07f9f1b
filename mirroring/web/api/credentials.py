"""`/api/credentials`: a secret goes in by POST and PUT, and comes out by nothing."""

from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from mirroring import catalog
from mirroring.catalog.credential_facts import facts_of
from mirroring.models import Credential, CredentialKind
from mirroring.models.api_token import ApiToken, Scope
from mirroring.tasks import wake_scheduler
from mirroring.tracker.connection import present
from mirroring.web.api.access import Rejected, api, fields

TEXTS = ("secret", "username", "app_id", "installation_id", "api_url")
FIELDS = {*TEXTS, "name", "kind", "hosts", "allow_http", "expires_at"}


@api(GET=Scope.READ_CREDENTIALS, POST=Scope.WRITE_CREDENTIALS)
def all_of_them(request: HttpRequest, token: ApiToken) -> HttpResponse:
    """List the credentials, or keep a new one."""
    now = present()
    if request.method == "GET":
        rows = Credential.objects.select_related("group").order_by("group__name", "name")
        return JsonResponse([facts_of(row, now=now) for row in rows], safe=False)
    given = _fields(request)
    if given.get("kind") not in CredentialKind.values:
        raise Rejected(400, f"kind must be one of {', '.join(CredentialKind.values)}")
    group, _, name = _text(given, "name").rpartition("/")
    row = catalog.add_credential(
        name,
        kind=CredentialKind(given["kind"]),
        given=_given(given),
        group=catalog.find_group(group) if group else None,
        by=f"token:{token.name}",
        now=now,
    )
    return JsonResponse(facts_of(row, now=now), status=201)


@api(
    GET=Scope.READ_CREDENTIALS,
    PUT=Scope.WRITE_CREDENTIALS,
    PATCH=Scope.WRITE_CREDENTIALS,
    DELETE=Scope.WRITE_CREDENTIALS,
)
def one(request: HttpRequest, token: ApiToken, name: str) -> HttpResponse:
    """Show a credential, replace its secret (PUT), change its end (PATCH), or remove it."""
    row, now, by = catalog.find_credential(name), present(), f"token:{token.name}"
    if request.method == "DELETE":
        catalog.remove_credential(row, by=by)
        return HttpResponse(status=204)
    if request.method == "PUT":
        given = _given(_fields(request))
        row = catalog.replace_credential(row, given=given, by=by, now=now, wake=wake_scheduler).credential
    if request.method == "PATCH":
        changes = _fields(request)
        if changes.keys() != {"expires_at"}:
            raise Rejected(400, "PATCH changes expires_at only: a new secret, or where it is sent, is a PUT")
        row = catalog.set_expiry(row, expires_at=_moment(changes), by=by, now=now)
    return JsonResponse(facts_of(row, now=now))


def _fields(request: HttpRequest) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise Rejected(415, "Send JSON")
    given = fields(request)
    if unknown := sorted(given.keys() - FIELDS):
        raise Rejected(400, f"unknown field {unknown[0][:50]!r}: use {', '.join(sorted(FIELDS))}")
    return given


def _given(given: dict[str, Any]) -> catalog.Given:
    hosts, allow_http = given.get("hosts", []), given.get("allow_http")
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise Rejected(400, "hosts must be a list of host names")
    if allow_http is not None and not isinstance(allow_http, bool):
        raise Rejected(400, "allow_http must be true or false")
    texts = {name: _text(given, name) for name in TEXTS}
    return catalog.Given(hosts=tuple(hosts), allow_http=allow_http, expires_at=_moment(given), **texts)


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str):
        raise Rejected(400, f"{name} must be a text")
    return value


def _moment(given: dict[str, Any]) -> datetime | None:
    text = given.get("expires_at")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise Rejected(400, "expires_at must be a date such as 2027-01-31, or null") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
