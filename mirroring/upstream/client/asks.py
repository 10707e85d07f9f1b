"""What is put to a prober and what comes back: a question with the means to ask it; an answer, or a doubt."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mirroring.rules.hosts import Signal
from mirroring.upstream.client.dialing import Dial, Unsupported
from mirroring.upstream.client.masters import Masters
from mirroring.upstream.client.probe import Heard, Question, Refused
from mirroring.upstream.client.protocol import BadAnswer
from mirroring.upstream.errors import GitError

ANSWER_SECONDS = 30.0


class Doubt(StrEnum):
    """Why an answer says nothing about whether there is something new."""

    UNREACHABLE = "unreachable"
    SLOW = "slow"
    OVERLOADED = "overloaded"
    REFUSED = "refused"
    NOT_GIT = "not git"
    UNSUPPORTED = "unsupported"
    BLOCKED = "blocked"
    UNASKED = "unasked"


@dataclass(frozen=True)
class Ask:
    """A question and the means to put it; `for_whom` comes back.

    `over_ssh` asks over a connection that is shared; `by_git` asks with a process and may block.
    """

    question: Question
    dial: Dial
    by_git: Callable[[], Heard] | None = None
    over_ssh: Callable[[Masters], Awaitable[Heard]] | None = None
    for_whom: Any = None
    until: float = math.inf
    """On the monotonic clock: later it is not put any more."""

    patience: float = ANSWER_SECONDS
    """Seconds in which it has to be answered, once it is put."""


@dataclass(frozen=True)
class Answer:
    """What was heard, or why nothing was."""

    ask: Ask
    heard: Heard | None = None
    doubt: Doubt | None = None
    said: str = ""


_DOUBTS: tuple[tuple[type[Exception], Doubt], ...] = (
    (TimeoutError, Doubt.SLOW),
    (Refused, Doubt.REFUSED),
    (BadAnswer, Doubt.NOT_GIT),
    (Unsupported, Doubt.UNSUPPORTED),
    (GitError, Doubt.BLOCKED),
    (OSError, Doubt.UNREACHABLE),
)
_SIGNALLED = {Signal.UNREACHABLE: Doubt.UNREACHABLE, Signal.OVERLOADED: Doubt.OVERLOADED}


def doubt_of(error: Exception) -> Doubt:
    """Return the class of what went wrong. Nothing that goes wrong here may end the loop: it is a doubt, at most."""
    if isinstance(error, Refused) and error.status in {429, 503}:
        return Doubt.OVERLOADED
    if isinstance(error, GitError) and error.signal in _SIGNALLED:
        return _SIGNALLED[error.signal]
    return next((doubt for kind, doubt in _DOUBTS if isinstance(error, kind)), Doubt.NOT_GIT)
