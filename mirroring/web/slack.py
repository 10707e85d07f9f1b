"""`/chatops/slack`: the address of the slash command."""

from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from mirroring.chatops import slack
from mirroring.web.refusal import Refused, answers_refusals

LIMIT_BYTES = 64 * 1024


@csrf_exempt  # Slack's signature is looked at, and no cookie.
@answers_refusals
@require_POST
def command(request: HttpRequest) -> HttpResponseBase:
    """Take one slash command."""
    now = datetime.now(tz=UTC)
    if int(request.headers.get("Content-Length") or 0) > LIMIT_BYTES:
        raise Refused(413, "The request is too long")
    body = request.body
    if not slack.is_from_slack(body, request.headers, now=now):
        raise Refused(401, "Slack has not signed this request, or not within the last five minutes")
    if not slack.is_new(request.headers, now=now):
        raise Refused(409, "This request was taken before")
    if request.POST.get("ssl_check"):  # Slack asks now and then whether the address holds a good certificate.
        return HttpResponse()
    return JsonResponse(slack.answer(slack.Command.of(request.POST)))
