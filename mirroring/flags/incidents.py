"""Asking the incident management whether now is a time to change things. `docs/chatops.md` has the format."""

import json
import urllib.error
import urllib.request
from typing import Any

TIMEOUT_SECONDS = 3
LIMIT_BYTES = 1 << 20


class SourceDown(Exception):
    """The source did not say; the text says what happened."""


def blocking(url: str, *, token: str) -> list[str]:
    """Return what speaks against a change, a line each. Empty: nothing does."""
    body = _fetch(url, token)
    try:
        found = [_line(entry) for entry in body["incidents"] if entry.get("open", True)]
        freeze = body.get("change_freeze")
    except (KeyError, TypeError, AttributeError):
        raise SourceDown("its answer is not in the documented form") from None
    return [*found, f"change freeze: {freeze}"] if freeze else found


def _line(entry: dict[str, Any]) -> str:
    return " ".join(str(entry[name]) for name in ("id", "title", "url") if entry.get(name)) or "an incident"


def _fetch(url: str, token: str) -> Any:
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  (the operator's own setting)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            return json.loads(answer.read(LIMIT_BYTES))
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise SourceDown(str(getattr(error, "reason", error)) or type(error).__name__) from None
