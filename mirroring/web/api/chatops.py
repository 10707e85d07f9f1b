"""`/api/chatops/run`: a command that was typed elsewhere, run in this deployment."""

from django.http import HttpRequest, HttpResponse, JsonResponse

from mirroring.chatops import grammar, running
from mirroring.chatops.act import Caller
from mirroring.flags.changes import Origin
from mirroring.models.api_token import ApiToken, Scope
from mirroring.web.api.access import Rejected, api, fields


@api(POST=Scope.CHATOPS)
def run(request: HttpRequest, token: ApiToken) -> HttpResponse:
    """Run one command here, whatever environments there are elsewhere."""
    given = fields(request)
    words, by = given.get("words"), str(given.get("by", "")).strip()
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise Rejected(400, "words must be a list of words")
    if not by:
        raise Rejected(400, "by is missing: say who typed the command")
    caller = Caller(by=f"{by[:120]} (token {token.name})"[:200], origin=Origin.CHATOPS)
    try:
        answer = running.here(words, caller=caller)
    except (grammar.Usage, grammar.HelpAsked) as error:
        raise Rejected(400, f"The build that runs here does not take that: {error}") from None
    body = {"ok": answer.ok, "text": answer.whole_text, "data": answer.data, "flags": answer.flags}
    return JsonResponse(body)
