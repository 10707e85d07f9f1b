"""Who hears what was changed: the channel of the flag's team, whichever way in it was changed by."""

from collections.abc import Sequence

from django.conf import settings

from mirroring import announce
from mirroring.chatops.running import Result
from mirroring.flags import changes, registry
from mirroring.flags.changes import Origin
from mirroring.flags.state import in_words
from mirroring.models.flag_change import FlagChange

TOLD_ELSEWHERE = frozenset({Origin.CHATOPS, Origin.ROLLOUT, Origin.SYSTEM})
"""A command of ChatOps is told with its results, where it was typed; a rollout announces itself."""


def tell_results(text: str, results: Sequence[Result], *, but_not: str = "") -> None:
    """Post a command and its results in the channels of the teams whose flags it changed."""
    flags = {flag for result in results for flag in result.answer.flags}
    known = [made for made in registry.definitions() if made.name in flags]
    for channel in sorted({made.owner.channel for made in known} - {but_not}):
        announce.post(channel, text)


def tell_change(entry: FlagChange) -> None:
    """Post a change in the channel of the flag's team; nobody waits for Slack."""
    if entry.origin in TOLD_ELSEWHERE:
        return
    words = f"{in_words(entry.before)} -> {in_words(entry.after)}, {entry.by} by {entry.origin}"
    overridden = f"; overridden: {', '.join(entry.overrides)}" if entry.overrides else ""
    why = f": {entry.why}" if entry.why else ""
    text = f"{settings.ENVIRONMENT}: `{entry.flag}` {words}{why}{overridden}"
    announce.post_soon(registry.definition(entry.flag).owner.channel, text)


def register() -> None:
    """Hear of every change. Called when Django starts."""
    changes.tell(tell_change)
