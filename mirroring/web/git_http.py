"""Read-only clones: git's smart HTTP protocol at /git/GROUP/NAME.git, answered by `git upload-pack`."""

import re
from collections.abc import Iterator
from threading import BoundedSemaphore

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import http_date
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from mirroring.models import Mirror
from mirroring.upstream.git import serving
from mirroring.web import git_body
from mirroring.web.git_access import RETRY_AFTER_SECONDS, allowed_mirror
from mirroring.web.refusal import Refused, answers_refusals

SERVICE = "git-upload-pack"
SERVICE_LINE = b"001e# service=git-upload-pack\n0000"
CLONES_AT_ONCE = 12
"""Of the 16 threads of the web process, four are left for people and health checks."""

STALLED_SECONDS = 120
"""A client that takes no 64 KiB in this time has gone or wants to hold the process."""

_VERSION = re.compile(r"(?<![^:])version=([012])(?![^:])")
_PLACES = BoundedSemaphore(CLONES_AT_ONCE)


@answers_refusals
@require_GET
def info_refs(request: HttpRequest, *, group: str, name: str) -> HttpResponseBase:
    """Answer the handshake of a clone or fetch."""
    service = request.GET.get("service", "")
    if service != SERVICE:
        raise _wrong_service(service)
    mirror = allowed_mirror(request, group=group, name=name)
    protocol = _protocol(request)
    prefix = b"" if protocol == "version=2" else SERVICE_LINE
    stream = _stream(mirror, advertise=True, protocol=protocol, body=iter(()))
    return _answer(request, mirror, stream, kind="advertisement", prefix=prefix)


@csrf_exempt  # Clients bring a token or nothing; no cookie is looked at.
@answers_refusals
@require_POST
def upload_pack(request: HttpRequest, *, group: str, name: str) -> HttpResponseBase:
    """Answer a request for refs or objects."""
    mirror = allowed_mirror(request, group=group, name=name)
    if request.content_type != f"application/x-{SERVICE}-request":
        raise Refused(415, f"Send application/x-{SERVICE}-request")
    stream = _stream(mirror, advertise=False, protocol=_protocol(request), body=git_body.receive(request))
    return _answer(request, mirror, stream, kind="result")


@csrf_exempt
@answers_refusals
def refuse(request: HttpRequest, *, rest: str) -> HttpResponseBase:
    """Say why no other address below /git/ is served."""
    if rest.endswith("/git-receive-pack"):
        raise _wrong_service("git-receive-pack")
    if ".git/" in rest:
        raise _wrong_service("")
    raise Refused(404, "Nothing is here: mirrors are at /git/GROUP/NAME.git")


def _wrong_service(service: str) -> Refused:
    if service == "git-receive-pack":
        return Refused(403, "This is a read-only mirror: push to its upstream")
    if service:
        return Refused(403, "Only git-upload-pack is served here: clone and fetch")
    return Refused(403, "Only git's smart HTTP protocol is served here: use git clone or git fetch")


def _protocol(request: HttpRequest) -> str:
    """Return the protocol version that the client asks for, in its plain form; what we do not know is ignored."""
    asked = _VERSION.findall(request.headers.get("Git-Protocol", "")[:200])
    return f"version={max(asked)}" if asked else ""


def _limit_silence(request: HttpRequest) -> None:
    connection = getattr(request, "environ", {}).get("gunicorn.socket")
    if connection is not None:
        connection.settimeout(STALLED_SECONDS)


def _stream(mirror: Mirror, *, advertise: bool, protocol: str, body: Iterator[bytes]) -> Iterator[bytes]:
    if not _PLACES.acquire(blocking=False):
        text = "Too many clones at once: try again in a moment"
        raise Refused(503, text, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
    try:
        yield from serving.upload_pack(mirror.repository, advertise=advertise, protocol=protocol, body=body)
    finally:
        _PLACES.release()


def _answer(
    request: HttpRequest, mirror: Mirror, stream: Iterator[bytes], *, kind: str, prefix: bytes = b""
) -> StreamingHttpResponse:
    """Start the stream, so that what goes wrong before its first byte is still a clear answer."""
    _limit_silence(request)
    first = next(stream, b"")
    if not first and kind == "advertisement":
        raise Refused(500, f"{mirror.path} cannot be read on this server: its log says why")
    response = StreamingHttpResponse(
        _resumed(prefix + first, stream), content_type=f"application/x-{SERVICE}-{kind}"
    )
    response["Cache-Control"] = "no-cache, max-age=0, must-revalidate"
    checked = mirror.state.last_successful_update_at
    if checked is not None:
        response["Mirror-Last-Successful-Update"] = http_date(checked.timestamp())
    return response


def _resumed(first: bytes, stream: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what was read already, then the rest; closed early, it closes the stream."""
    yield first
    yield from stream
