"""What GitLab's API of flags lacks: their state as processes read it, and their audit."""

from collections.abc import Iterator

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from mirroring import revision
from mirroring.flags import audit, clock, milestones, registry, shown
from mirroring.models.api_token import ApiToken, Scope
from mirroring.models.flag_change import FlagChange
from mirroring.rollout import controller, describing
from mirroring.tracker.connection import connect
from mirroring.tracker.job_tracker import TrackerDown
from mirroring.web.api.access import api

LATEST = 100


@api(GET=Scope.READ_FLAGS)
def listed(request: HttpRequest, token: ApiToken) -> HttpResponse:
    """List every defined flag with its state."""
    return JsonResponse(shown.every(now=clock.now()), safe=False)


@api(GET=Scope.READ_FLAGS)
def one(request: HttpRequest, token: ApiToken, name: str) -> HttpResponse:
    """Show one flag, and how each live process last said that it sees it."""
    found = shown.one(name, now=clock.now())
    return JsonResponse({**found, "seen_by": _seen_by(name)})


@api(GET=Scope.READ_FLAGS)
def changes(request: HttpRequest, token: ApiToken, name: str) -> HttpResponse:
    """Return the newest entries of the audit of one flag."""
    entries = FlagChange.objects.filter(flag=registry.named(name))[:LATEST]
    return JsonResponse([audit.as_json(entry) for entry in entries], safe=False)


@api(GET=Scope.READ_FLAGS)
def rollout(request: HttpRequest, token: ApiToken, name: str) -> HttpResponse:
    """Show the latest rollout of a flag; null if it never had one."""
    latest = controller.latest(registry.named(name))
    return JsonResponse(describing.as_json(latest) if latest else None, safe=False)


@api(GET=Scope.READ_FLAGS)
def export(request: HttpRequest, token: ApiToken) -> HttpResponseBase:
    """Stream the whole audit as JSON lines, oldest first."""
    return StreamingHttpResponse(_lines(), content_type="application/jsonl")


@api(GET=Scope.READ_FLAGS)
def verdict(request: HttpRequest, token: ApiToken) -> HttpResponse:
    """Verify the audit."""
    found = audit.verify(head=request.GET.get("head", ""))
    faults = [vars(fault) for fault in found.faults]
    return JsonResponse({"entries": found.entries, "head": found.head, "faults": faults})


@api(GET=Scope.READ_FLAGS)
def running(request: HttpRequest, token: ApiToken) -> HttpResponse:
    """Say which environment this is, and what runs in it."""
    body = {
        "environment": settings.ENVIRONMENT,
        "milestone": milestones.CURRENT,
        "revision": revision.current(),
    }
    return JsonResponse(body)


def _lines() -> Iterator[str]:
    for line in audit.export():
        yield f"{line}\n"


def _seen_by(name: str) -> dict[str, bool | None] | None:
    """Return what each live process sees; None for all where Redis is away."""
    try:
        return {worker.name: worker.flags.get(name) for worker in connect().workers()}
    except TrackerDown:
        return None
