"""How an import ended, as a class that a person and a policy can act on."""

import re
from enum import StrEnum

from mirroring.rules.hosts import Signal


class Outcome(StrEnum):
    """The classes of endings of one import attempt. What follows from each is in `policies`."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    TRANSIENT = "transient"
    AUTH = "auth"
    GONE = "gone"
    RENAMED = "renamed"
    DIVERGED = "diverged"
    HUNG = "hung"
    RESOURCE = "resource"
    TOO_BIG = "too_big"
    CORRUPT = "corrupt"
    BLOCKED = "blocked"
    EMPTIED = "emptied"
    LOST = "lost"
    FENCED = "fenced"
    CANCELED = "canceled"
    INTERRUPTED = "interrupted"
    NO_SLOT = "no_slot"


SUCCESSES = frozenset({Outcome.UNCHANGED, Outcome.CHANGED})

# What git, ssh and curl say themselves, in the order in which it is looked for: our own troubles first, for they make
# the upstream look guilty in the next line.
_SAID_HERE: tuple[tuple[Outcome, str], ...] = (
    (Outcome.RESOURCE, r"no space left on device|disk quota exceeded|cannot allocate memory|out of memory"),
    (Outcome.RESOURCE, r"read-only file system|file too large|died of signal 25|failed to execute"),
    (Outcome.RESOURCE, r"too many open files|resource temporarily unavailable"),
    (Outcome.BLOCKED, r"transport '[^']*' not allowed|protocol '[^']*' is not supported"),
    (Outcome.AUTH, r"authentication failed|could not read (username|password)|terminal prompts disabled"),
    (Outcome.AUTH, r"returned error: 40[137]\b|permission denied \((publickey|password|keyboard)"),
    (Outcome.AUTH, r"host key verification failed|received http code 407"),
    (Outcome.GONE, r"repository '[^']*' not found|returned error: (404|410)\b|repository not found"),
    (Outcome.GONE, r"does not appear to be a git repository|not valid: is this a git repository"),
    (Outcome.RENAMED, r"returned error: 30[1278]\b|unable to update url base from redirection"),
    (Outcome.HUNG, r"operation too slow|operation timed out|timed out after|connection timed out"),
    (Outcome.CORRUPT, r"object file .* is (empty|corrupt)|(loose|packed) object .* is corrupt"),
    (Outcome.CORRUPT, r"packfile .* (is invalid|cannot be|is far too short|does not match index)"),
    (Outcome.CORRUPT, r"unable to read (tree|[0-9a-f]{40})|index file .* (is too small|wrong|corrupt)"),
    (
        Outcome.CORRUPT,
        r"cannot read existing object|bad object refs/|did not send all necessary objects|broken links?$",
    ),
)
# What a server tells in its own words, `remote: ...`. It is believed about itself and never about us.
_SAID_THERE: tuple[tuple[Outcome, str], ...] = (
    (Outcome.GONE, r"repository not found|project .* could not be found"),
    (Outcome.AUTH, r"invalid (username|credentials)|access denied|authentication (failed|required)"),
)
_REMOTE = re.compile(r"^remote: ?(.*)$", re.MULTILINE)

_SIGNALS: tuple[tuple[Signal, str], ...] = (
    (Signal.OVERLOADED, r"returned error: (429|502|503|504)\b|http (429|502|503|504)\b|too many requests"),
    (Signal.OVERLOADED, r"kex_exchange_identification|exceeded maxstartups"),
    (Signal.UNREACHABLE, r"failed to connect|connection refused|couldn't connect|could not connect"),
    (Signal.UNREACHABLE, r"could not resolve (host|proxy)|no route to host|network is unreachable"),
    (Signal.UNREACHABLE, r"empty reply from server|connection reset|recv failure|send failure"),
    (Signal.UNREACHABLE, r"ssl|tls|certificate"),
)
_ANSWERED = SUCCESSES | {
    Outcome.AUTH,
    Outcome.GONE,
    Outcome.RENAMED,
    Outcome.DIVERGED,
    Outcome.EMPTIED,
    Outcome.TOO_BIG,
}


def classify(stderr: str) -> Outcome:
    """Return the class of a failed git command by its error text; what no row names is transient."""
    text = stderr.lower()
    there = "\n".join(_REMOTE.findall(text))
    here = _REMOTE.sub("", text)
    for said, rows in ((here, _SAID_HERE), (there, _SAID_THERE)):
        for outcome, pattern in rows:
            if re.search(pattern, said, re.MULTILINE):
                return outcome
    return Outcome.TRANSIENT


def signal_of(outcome: Outcome, detail: str = "") -> Signal:
    """Return what an ending says of the host."""
    if outcome is Outcome.HUNG:
        return Signal.UNREACHABLE
    if outcome in _ANSWERED:
        return Signal.ANSWERS
    if outcome is not Outcome.TRANSIENT:
        return Signal.NONE
    text = _REMOTE.sub("", detail.lower())
    return next((signal for signal, pattern in _SIGNALS if re.search(pattern, text)), Signal.NONE)
