"""What a check was answered, handed over to the import that it caused: one question less for the upstream.

It is a text that is kept for a moment. It is believed only of the very question that it answers: the tie covers who is
asked, on which way, with which secret, for what. What is in it is the upstream's, and read as any answer is.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.crypto import salted_hmac

from mirroring.upstream.client.probe import Heard, Question

GOOD_FOR = timedelta(seconds=30)
"""How old an answer may be when an import begins: that much older is what it brings, and what it says of it."""


@dataclass(frozen=True)
class Handed:
    """An answer, the tie to its question, and a moment before which that was not asked."""

    tie: str
    asked_at: datetime
    answer: bytes

    @classmethod
    def of_text(cls, text: str, *, now: datetime) -> "Handed | None":
        """Return what a text holds; None if that is nothing, too old by now, or from the future."""
        try:
            tie, at, answer = text.split("\n", 2)
            asked_at = datetime.fromisoformat(at)
        except ValueError:
            return None
        if not timedelta(0) <= now - asked_at <= GOOD_FOR:
            return None
        return cls(tie, asked_at, answer.encode("ascii"))

    def answers(self, question: Question) -> bool:
        """Say whether it is this question that was answered."""
        return self.tie == _tie(question)


def text_of(question: Question, heard: Heard, *, asked_at: datetime) -> str:
    """Return an answer as it is handed over; empty if it is not small, or not in the plainest of forms."""
    if not question.way.is_v2 or not heard.answer or not heard.answer.isascii():
        return ""
    return f"{_tie(question)}\n{asked_at.isoformat()}\n{heard.answer.decode('ascii')}"


def _tie(question: Question) -> str:
    target = question.target
    parts = (target.origin, target.path, target.authorization, question.refspecs, question.way)
    return salted_hmac("mirroring.handed", repr(parts), algorithm="sha256").hexdigest()
