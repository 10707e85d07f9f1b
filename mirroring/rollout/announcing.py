"""Saying what a rollout will do and does: in the log, its history, and to whoever has subscribed (ChatOps, say)."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from mirroring.flags import registry
from mirroring.models import Rollout, RolloutEvent

logger = logging.getLogger(__name__)

BEGUN = "begun"
AHEAD = "ahead"


@dataclass(frozen=True)
class Announcement:
    """One thing that people should hear. `kind`: ahead, begun, step, held, resumed, rolled_back, confirmed, done, ...

    `data` of the first two: `expected`, the time that people are to know; `by`, who announced it.
    """

    flag: str
    kind: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


Subscriber = Callable[[Announcement], None]
_subscribers: list[Subscriber] = []


def subscribe(subscriber: Subscriber) -> None:
    """Have a callable told everything. Registered from above, when Django starts."""
    if subscriber not in _subscribers:
        _subscribers.append(subscriber)


def unsubscribe(subscriber: Subscriber) -> None:
    """Tell it no more."""
    _subscribers.remove(subscriber)


def say(rollout: Rollout, kind: str, text: str, *, at: datetime, **data: Any) -> None:
    """Note what happened in the history of a rollout, and tell everybody."""
    RolloutEvent.objects.create(rollout=rollout, at=at, kind=kind, text=text, data=data)
    prefix = "shadow rollout" if rollout.shadow else "rollout"
    told = {**data, "rollout": rollout.pk, "shadow": rollout.shadow}
    tell(Announcement(rollout.flag, kind, f"{prefix} of {rollout.flag}: {text}", told))


def tell_ahead(flag: str, *, at: datetime, by: str) -> None:
    """Tell everybody, before it happens, when a flag is expected to be turned on here."""
    definition, expected = registry.definition(flag), f"{at.astimezone(UTC):%Y-%m-%dT%H:%MZ}"
    text = (
        f"{flag} is expected to be turned on in {settings.ENVIRONMENT} at {expected}, says {by}. "
        f"Ask {definition.owner.contact} in {definition.owner.channel}; rollout issue: {definition.rollout_issue}"
    )
    tell(Announcement(flag, AHEAD, text, {"expected": expected, "by": by}))


def tell(announcement: Announcement) -> None:
    """Tell everybody. One who cannot hear never stands in the way of what is announced."""
    logger.info("rollout announced", extra={"flag": announcement.flag, "kind": announcement.kind})
    for subscriber in _subscribers:
        try:
            subscriber(announcement)
        except Exception:
            logger.exception("an announcement was not heard")
