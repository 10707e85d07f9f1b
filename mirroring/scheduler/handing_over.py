"""What checks were answered, put where the imports that they cause find it: small answers, of a bounded sum."""

import logging
from collections.abc import Mapping
from datetime import datetime

from mirroring.models import Claim
from mirroring.scheduler.check_rows import Row
from mirroring.tracker.job_tracker import JobTracker, TrackerDown
from mirroring.upstream.client.asks import Answer
from mirroring.upstream.transfer.handed import GOOD_FOR, text_of

logger = logging.getLogger(__name__)

ROOM = 16 * 1024 * 1024
"""Bytes that a run hands over in the time for which an answer is good: Redis holds twice as much of it at most."""


class HandingOver:
    """The answers of one run of checks whose mirrors changed."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._left = 0
        self._room_at: datetime | None = None

    def add(self, row: Row, answer: Answer) -> None:
        """Keep an answer for the import of a row, until they are put.

        The row stood leased, in no claim, when its epoch was read, before the question was asked. So the claim with the
        next epoch is the first after the question, and no other import came between.
        """
        if answer.heard and (text := text_of(answer.ask.question, answer.heard, asked_at=row.leased_at)):
            self._texts[Claim(row.mirror_id, row.epoch + 1).token] = text

    def put(self, tracker: JobTracker, *, now: datetime) -> None:
        """Put what there is room for. What is not put is asked again by its import."""
        if not self._texts:
            return
        texts, self._texts = self._within_room(now), {}
        try:
            tracker.hand_over(texts, life=GOOD_FOR)
        except TrackerDown:
            logger.warning("what checks were answered could not be handed over", extra={"rows": len(texts)})

    def _within_room(self, now: datetime) -> Mapping[str, str]:
        if self._room_at is None or now >= self._room_at + GOOD_FOR:
            self._room_at, self._left = now, ROOM
        chosen = {}
        for token, text in self._texts.items():
            if len(text) <= self._left:
                self._left -= len(text)
                chosen[token] = text
        return chosen
