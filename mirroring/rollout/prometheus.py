"""Prometheus as a second source of measures, where one is configured: instant queries over HTTP, nothing else."""

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from django.conf import settings

TIMEOUT_SECONDS = 2.0
LARGEST_ANSWER = 1_000_000


class NoAnswer(Exception):
    """A query gave no number; the message says why."""


def expressions() -> Mapping[str, str]:
    """Return the measures that Prometheus answers for, each with its query."""
    return settings.PROMETHEUS_QUERIES if settings.PROMETHEUS_URL else {}


def ask(expression: str) -> float | None:
    """Return the value of a query now; None if it matches nothing, which is no data and no error."""
    query = urllib.parse.urlencode({"query": expression})
    url = f"{settings.PROMETHEUS_URL}/api/v1/query?{query}"
    if not url.startswith(("http://", "https://")):
        raise NoAnswer("PROMETHEUS_URL must start with http:// or https://")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310  # checked above
            body = json.loads(answer.read(LARGEST_ANSWER))
    except (OSError, ValueError) as error:
        raise NoAnswer(f"Prometheus: {error}") from None
    return _number(body)


def _number(body: Any) -> float | None:
    try:
        result = body["data"]["result"]
        if body["data"]["resultType"] == "scalar":
            result = [{"value": result}]
        if len(result) > 1:
            raise NoAnswer(f"Prometheus: the query matches {len(result)} series: aggregate them to one")
        value = float(result[0]["value"][1]) if result else None
    except (KeyError, IndexError, TypeError, ValueError):
        raise NoAnswer("Prometheus: the answer is not that of an instant query") from None
    if value is not None and not math.isfinite(value):
        raise NoAnswer(f"Prometheus: the value is {value}")
    return value
