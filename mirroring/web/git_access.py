"""Who may clone what. A private repository and one that does not exist look alike to those without a token."""

import base64
import binascii
from datetime import datetime

from django.http import HttpRequest

from mirroring.models import Group, ImportState, Mirror
from mirroring.tracker.connection import present
from mirroring.web.freshness import next_attempt
from mirroring.web.refusal import Refused

RETRY_AFTER_SECONDS = 30


def allowed_mirror(request: HttpRequest, *, group: str, name: str) -> Mirror:
    """Return the mirror if it exists, may be cloned by this client and has been mirrored; raise Refused if not."""
    _check(request, group=group)
    mirror = Mirror.objects.named(f"{group}/{name}").select_related("group", "state").first()
    if mirror is None:
        raise Refused(
            404, f"There is no mirror {group}/{name}: see the names in the admin or in `mirror list`"
        )
    if mirror.state.last_successful_update_at is None:
        raise _not_ready(mirror, why="has not been mirrored yet", now=present())
    if not (mirror.repository / "HEAD").exists():
        raise _not_ready(mirror, why="is missing on this server's disk", now=present())
    return mirror


def _check(request: HttpRequest, *, group: str) -> None:
    found = Group.objects.filter(name=group).first()
    if found is not None and (found.public or found.admits(_token(request))):
        return
    raise Refused(
        401,
        "This repository is private or does not exist: give a token of its group as the password",
        headers={"WWW-Authenticate": 'Basic realm="mirroring", charset="UTF-8"'},
    )


def _token(request: HttpRequest) -> str:
    """Return the bearer token, or the password of HTTP Basic whatever the user name; empty if there is none."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        pair = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return pair.partition(":")[2]


def _not_ready(mirror: Mirror, *, why: str, now: datetime) -> Refused:
    state: ImportState = mirror.state
    # The class of the failure only: what the upstream said is for those who run this server.
    ended = f"; its last attempt ended as: {state.last_outcome}" if state.last_outcome else ""
    text = f"{mirror.path} {why}{ended}. Next attempt: {next_attempt(state, now=now)}"
    return Refused(503, text, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
