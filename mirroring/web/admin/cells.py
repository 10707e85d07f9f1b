"""How single facts look in a list: the same everywhere."""

from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString

from mirroring.catalog.freshness import Freshness, freshness, in_words
from mirroring.models import Mirror
from mirroring.rules.cadence import Cadence
from mirroring.rules.outcomes import SUCCESSES
from mirroring.rules.policies import remedy, rest_of
from mirroring.rules.states import IN_FLIGHT, Status

SHOWN_ERROR = 90

_FRESHNESS_TONES = {Freshness.NEW: "idle", Freshness.FRESH: "good", Freshness.STALE: "bad"}


def badge(text: str, tone: str, *, title: str = "") -> SafeString:
    """Return a word on a coloured ground; `tone` is good, busy, warn, bad or idle."""
    return format_html('<span class="badge {}" title="{}">{}</span>', tone, title, text)


def status(mirror: Mirror) -> SafeString:
    """Return where a mirror stands, with what holds it back before its plain status."""
    state = mirror.state
    if mirror.deleted_at is not None:
        return badge("removed", "idle")
    if mirror.paused_at is not None:
        return format_html(
            '{}<div class="note">{}</div>', badge("paused", "warn"), mirror.pause_reason or "no reason given"
        )
    if state.hard_failed:
        word = rest_of(state.last_outcome)
        return badge(word, "bad", title=remedy(state.last_outcome, path=mirror.path) or "Waits for a person")
    tones = {Status.FINISHED: "good", Status.FAILED: "bad", Status.CANCELED: "warn"}
    tone = "busy" if state.status in IN_FLIGHT else tones.get(Status(state.status), "idle")
    return badge(state.status, tone)


def age(mirror: Mirror, *, now: datetime, cadence: Cadence) -> SafeString:
    """Return how long ago the mirror was last checked with success; a stale one looks stale."""
    verdict = freshness(mirror, now=now, cadence=cadence)
    success = mirror.state.last_successful_update_at
    words = in_words(success, now=now)
    title = success.strftime("%Y-%m-%d %H:%M:%S UTC") if success else "never checked with success"
    if verdict is Freshness.STALE:
        return format_html('{} <span class="stale">{}</span>', badge("stale", "bad", title=title), words)
    return format_html('<span class="age {}" title="{}">{}</span>', _FRESHNESS_TONES[verdict], title, words)


def outcome(name: str, error: str = "", *, failures: int = 0, whole: bool = False) -> SafeString:
    """Return how an import ended, with the reason if it failed."""
    if not name:
        return badge("none yet", "idle")
    if name in SUCCESSES:
        return badge(name, "good")
    shown = error if whole or len(error) <= SHOWN_ERROR else f"{error[:SHOWN_ERROR].rstrip()}…"
    times = f"{failures} times in a row" if failures > 1 else ""
    return format_html(
        '{} <span class="note">{}</span><div class="note" title="{}">{}</div>',
        badge(name, "bad"),
        times,
        error,
        shown,
    )


def span(began: datetime | None, ended: datetime | None) -> str:
    """Return how long something took, in seconds."""
    return f"{(ended - began).total_seconds():.1f} s" if began and ended else ""
