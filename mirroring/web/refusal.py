"""Answers in plain text that say what is wrong and what to do: git shows them after `remote:`."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TypeAlias

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

View: TypeAlias = Callable[..., HttpResponseBase]


class Refused(Exception):
    """A request is not served; the text says why and how to go on."""

    def __init__(self, status: int, text: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers or {}

    def response(self) -> HttpResponse:
        """Return the answer."""
        return plain_text(str(self), status=self.status, headers=self.headers)


def plain_text(text: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Return a text that no cache keeps."""
    response = HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")
    response["Cache-Control"] = "no-cache"
    for name, value in (headers or {}).items():
        response[name] = value
    return response


def answers_refusals(view: View) -> View:
    """Let a view raise Refused."""

    @wraps(view)
    def answering(request: HttpRequest, **kwargs: str) -> HttpResponseBase:
        try:
            return view(request, **kwargs)
        except Refused as refused:
            return refused.response()

    return answering
