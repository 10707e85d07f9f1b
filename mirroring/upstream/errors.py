"""How contact with an upstream fails: always with the class that a policy acts on, and a line for a person."""

from datetime import timedelta

from mirroring.rules.hosts import Signal
from mirroring.rules.outcomes import Outcome, signal_of


class GitError(Exception):
    """The upstream could not be asked, or a git command did not do its work.

    `signal`: what this says of the host, where the detail does not; `retry_after`: what the host asked for.
    """

    def __init__(
        self,
        outcome: Outcome,
        detail: str,
        *,
        signal: Signal | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail
        self.signal = signal or signal_of(outcome, detail)
        self.retry_after = retry_after


class Blocked(GitError):
    """The policy refuses the contact, before anything was sent. The detail says what would allow it."""

    def __init__(self, detail: str) -> None:
        super().__init__(Outcome.BLOCKED, detail)


class CredentialUnusable(GitError):
    """A credential cannot be used; the detail says why and what to do. No upstream was shown anything."""

    def __init__(self, detail: str) -> None:
        super().__init__(Outcome.AUTH, detail)
