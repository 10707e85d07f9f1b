"""Other deployments, over their API: what runs there, what a flag is there, and running a command there."""

import json
import urllib.error
import urllib.request
from typing import Any

from django.conf import settings

from mirroring.chatops import configuration
from mirroring.chatops.configuration import Deployment

QUICK_SECONDS = 5
COMMAND_SECONDS = 120
LIMIT_BYTES = 8 << 20


class EnvironmentDown(Exception):
    """A deployment did not answer, or not as one; the text says what happened."""


class NoEnvironment(ValueError):
    """No such deployment is configured."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The token goes where the file says and nowhere else."""

    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))


def is_here(name: str) -> bool:
    """Say whether a name is that of this deployment."""
    return bool(name == settings.ENVIRONMENT)


def named(name: str) -> Deployment:
    """Return another deployment; raise NoEnvironment."""
    known = configuration.current().environments
    if name not in known:
        have = ", ".join(configuration.current().reachable)
        raise NoEnvironment(f"No environment {name} is configured (there are: {have}): see docs/chatops.md")
    return known[name]


def revision(name: str) -> str:
    """Return the revision that runs there; raise EnvironmentDown."""
    found = _ask(named(name), "/-/version", timeout=QUICK_SECONDS).get("revision")
    if not found or found == "unknown":
        raise EnvironmentDown("it does not know its revision (MIRRORING_REVISION)")
    return str(found)


def flag(name: str, flag_name: str) -> dict[str, Any]:
    """Return what a flag is there; raise EnvironmentDown."""
    return _ask(named(name), f"/api/flags/{flag_name}", timeout=QUICK_SECONDS)


def run(name: str, words: list[str], *, by: str) -> dict[str, Any]:
    """Run a command there, in a person's name; raise EnvironmentDown."""
    body = {"words": words, "by": by}
    return _ask(named(name), "/api/chatops/run", body=body, timeout=COMMAND_SECONDS)


def _ask(
    deployment: Deployment, path: str, *, timeout: int, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310  (the operator's own file; only http and https get into it)
        f"{deployment.url}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"PRIVATE-TOKEN": deployment.token, "Content-Type": "application/json"},
    )
    try:
        with _opener.open(request, timeout=timeout) as answer:
            found = json.loads(answer.read(LIMIT_BYTES))
    except urllib.error.HTTPError as error:
        raise EnvironmentDown(_refusal(error)) from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise EnvironmentDown(f"it does not answer: {getattr(error, 'reason', error)}") from None
    if not isinstance(found, dict):
        raise EnvironmentDown("its answer is not one of this service")
    return found


def _refusal(error: urllib.error.HTTPError) -> str:
    with error:
        try:
            said = json.loads(error.read(64 << 10))
            text = said.get("message") or said.get("error")
        except (ValueError, AttributeError, OSError):
            text = error.reason
    return f"it answered {error.code}: {text}"
