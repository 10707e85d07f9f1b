"""Who may use the API, and the form of its requests and refusals."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from mirroring.catalog.errors import CatalogError, Unknown
from mirroring.flags.actors import UnknownActor
from mirroring.flags.changes import FlagRefused
from mirroring.flags.registry import UnknownFlag
from mirroring.models.api_token import ApiToken, Scope
from mirroring.models.key_list import KeysUnusable

NOTED_EVERY = timedelta(minutes=1)
LIMIT_BYTES = 256 * 1024
READ_ALSO_BY = {
    Scope.READ_FLAGS: (Scope.WRITE_FLAGS, Scope.CHATOPS),
    Scope.READ_CREDENTIALS: (Scope.WRITE_CREDENTIALS,),
}
REFUSALS = (CatalogError, FlagRefused, KeysUnusable, UnknownActor)
REALM = 'Bearer realm="mirroring"'


class Rejected(Exception):
    """A request is not served; the text says why and what to do."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


View = Callable[..., HttpResponseBase]


def api(**methods: Scope) -> Callable[[View], View]:
    """Serve a view to tokens: `@api(GET=Scope.READ_FLAGS, ...)` names the scope that each method takes.

    No cookie is looked at, so there is nothing that another site could make a browser send along.
    """

    def decorate(view: View) -> View:
        @csrf_exempt
        @never_cache
        @wraps(view)
        def answering(request: HttpRequest, **parts: str) -> HttpResponseBase:
            try:
                token = _admitted(request, methods)
                return view(request, token, **parts)
            except Rejected as rejected:
                return refusal(rejected.status, str(rejected))
            except UnknownFlag as unknown:
                return refusal(404, f"404 Feature Not Found: {unknown}")
            except Unknown as unknown:
                return refusal(404, f"404 Not Found: {unknown}")
            except REFUSALS as refused:
                return refusal(400, str(refused))
            except DatabaseError as error:
                said = str(error).strip().partition("\n")[0]
                return refusal(503, f"Nothing was changed: the database does not take it ({said})")

        return answering

    return decorate


def refusal(status: int, text: str) -> HttpResponse:
    """Return a refusal in the form of GitLab's."""
    response = JsonResponse({"message": text}, status=status)
    if status == 401:
        response["WWW-Authenticate"] = REALM
    return response


@csrf_exempt
def nothing_here(request: HttpRequest, *, rest: str) -> HttpResponse:
    """Say that an address is none of the API's, in the form of its other refusals."""
    return refusal(404, "404 Not Found: the API is described in docs/flags.md and docs/credentials.md")


def fields(request: HttpRequest) -> dict[str, Any]:
    """Return what the body says, be it JSON or a form."""
    if len(request.body) > LIMIT_BYTES:
        raise Rejected(413, "The request is too long")
    if request.content_type != "application/json":
        return {name: values[-1] for name, values in request.POST.lists()}
    try:
        body = json.loads(request.body or b"{}")
    except ValueError:
        raise Rejected(400, "The body is no JSON") from None
    if not isinstance(body, dict):
        raise Rejected(400, "The body must be a JSON object")
    return body


def _admitted(request: HttpRequest, methods: dict[str, Scope]) -> ApiToken:
    scope = methods.get(request.method or "")
    if scope is None:
        raise Rejected(405, f"405 Not Allowed: this address takes {', '.join(methods)}")
    now = datetime.now(tz=UTC)
    token = ApiToken.opened_by(_presented(request), now=now)
    if token is None:
        raise Rejected(401, "401 Unauthorized: give a token of `manage.py token issue` as PRIVATE-TOKEN")
    if not opens(token, scope):
        raise Rejected(403, f"403 Forbidden: the token {token.name} lacks the scope {scope}")
    _note(token, now)
    return token


def opens(token: ApiToken, scope: Scope) -> bool:
    """Say whether a token opens a scope; who may change or run commands may also read."""
    return any(wider in token.scopes for wider in (scope, *READ_ALSO_BY.get(scope, ())))


def _presented(request: HttpRequest) -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return request.headers.get("PRIVATE-TOKEN", "") or (value.strip() if scheme.lower() == "bearer" else "")


def _note(token: ApiToken, now: datetime) -> None:
    """Keep when a token was last used, for whoever wonders which may go. Never in the way of a request."""
    if token.last_used_at and now - token.last_used_at < NOTED_EVERY:
        return
    try:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    except DatabaseError:
        return
