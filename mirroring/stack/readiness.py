"""Ask the web process whether the whole stack is ready."""

import http.client
import json
from urllib.parse import urlsplit

from mirroring.stack.ports import LOOPBACK

PATIENCE_SECONDS = 5.0
EVERYWHERE = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104  (compared with, not bound to)


def missing(host: str, port: int, *, public_url: str) -> str | None:
    """Return which parts are not ready yet, or None when all are."""
    connection = http.client.HTTPConnection(EVERYWHERE.get(host, host), port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/-/readyz", headers={"Host": urlsplit(public_url).netloc})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return "the web process does not answer"
    finally:
        connection.close()
    return None if answer.status == http.client.OK else _reasons(answer.status, body)


def _reasons(status: int, body: bytes) -> str:
    try:
        told = json.loads(body)
        return "; ".join(f"{name}: {told['parts'][name]['detail']}" for name in told["not_ready"])
    except (ValueError, KeyError, TypeError):
        return f"the web process answers with status {status}"
