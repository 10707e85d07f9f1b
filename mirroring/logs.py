"""How a log line looks: a constant sentence, then its fields, and never a secret."""

import base64
import logging
import re
import threading
from collections.abc import Iterable
from urllib.parse import quote

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "data"}

HIDDEN = "[hidden]"
SHORTEST = 6
"""A shorter secret is part of ordinary words; hiding it would spoil every text and so give it away."""
REMEMBERED = 256

_SHAPES = (
    (re.compile(r"(?<=://)[^/\s@]*@"), ""),
    (
        re.compile(
            r"\b((?:proxy-)?authorization|private-token|x-api-key|(?:set-)?cookie)(['\"]?\s*[:=]\s*['\"]?)"
            r"(?:(?:basic|bearer|token|digest|negotiate)\s+)?[^\s'\",]+",
            re.IGNORECASE,
        ),
        rf"\1\2{HIDDEN}",
    ),
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        HIDDEN,
    ),
    # Tokens whose makers gave them a prefix to be found by: GitHub, GitLab, Slack, Atlassian, AWS, and our own.
    (
        re.compile(
            r"\b(?:gh[opsur]_\w{16,}|github_pat_\w{16,}|gl(?:pat|oas|dt|rt|cbt|ptt|ft|soat)-[\w-]{16,}"
            r"|xox[abeoprs]-[\w-]{10,}|AT[AB]TT[\w=-]{16,}|AKIA[0-9A-Z]{16}|mr(?:t|api)_[\w-]{16,}"
            r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+)"
        ),
        HIDDEN,
    ),
)


class _Known:
    """The secrets that this process has had in its hands, the latest of them, each in the forms that it takes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: dict[str, tuple[str, ...]] = {}

    def add(self, secret: str, *, username: str = "") -> None:
        forms = tuple(form for form in _forms(secret, username) if len(form) >= SHORTEST)
        with self._lock:
            self._forms.pop(secret, None)
            self._forms[secret] = forms
            while len(self._forms) > REMEMBERED:
                del self._forms[next(iter(self._forms))]

    def forms(self) -> Iterable[str]:
        with self._lock:
            return [form for forms in self._forms.values() for form in forms]


def _forms(secret: str, username: str) -> Iterable[str]:
    if len(lines := secret.splitlines()) > 1:  # A private key: any line of it.
        return [line for line in lines if len(line) > 30 and not line.startswith("-----")]
    pair = base64.b64encode(f"{username}:{secret}".encode()).decode()
    return sorted(
        {secret, quote(secret, safe=""), quote(secret), pair, pair.rstrip("=")}, key=len, reverse=True
    )


_known = _Known()


def hide(secret: str, *, username: str = "") -> None:
    """Have `redact` take this secret out of everything from now on. Called before a secret is used."""
    if len(secret) >= SHORTEST:
        _known.add(secret, username=username)


def redact(text: str) -> str:
    """Return a text without secrets: those in use, and whatever has the shape of one."""
    for form in _known.forms():
        if form in text:
            text = text.replace(form, HIDDEN)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text


class FieldFormatter(logging.Formatter):
    """Append the fields given by `extra=` to the message as `name=value`, and leave no secret in the line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the fields in the order in which they were given, and the traceback if there is one."""
        fields = " ".join(f"{key}={value}" for key, value in vars(record).items() if key not in _STANDARD)
        if fields:
            record = logging.makeLogRecord(
                {**vars(record), "msg": f"{record.getMessage()} [{fields}]", "args": ()}
            )
        return redact(super().format(record))
