"""Other deployments, as far as a rollout needs them. Who can reach them registers here, from above."""

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from django.conf import settings

from mirroring.models import Rollout, RolloutState


class Environments(Protocol):
    """Starts a rollout of one step in another environment and follows it: each judges by its own samples.

    `mark`: by what the rollout there is known as the one that was begun from here.
    """

    def names(self) -> list[str]:
        """Return the environments before this one, in their order."""

    def start(self, environment: str, flag: str, *, interval: timedelta, mark: str) -> None:
        """Begin there, unless it has begun already; raise EnvironmentRefused."""

    def state(self, environment: str, flag: str, *, mark: str) -> RolloutState | None:
        """Return where it stands there; None if the latest rollout there is not ours; raise EnvironmentRefused."""

    def turn_off(self, environment: str, flag: str, *, mark: str, by: str, why: str) -> None:
        """Turn the flag off there if the latest rollout there is ours; raise EnvironmentRefused."""


class EnvironmentRefused(Exception):
    """Another environment did not do it, or could not be reached."""


class NoEnvironments:
    """A deployment that knows of no other."""

    def names(self) -> list[str]:
        """Return none."""
        return []

    def start(self, environment: str, flag: str, *, interval: timedelta, mark: str) -> None:
        """Refuse."""
        raise EnvironmentRefused(f"No environment {environment} is known here")

    def state(self, environment: str, flag: str, *, mark: str) -> RolloutState | None:
        """Refuse."""
        raise EnvironmentRefused(f"No environment {environment} is known here")

    def turn_off(self, environment: str, flag: str, *, mark: str, by: str, why: str) -> None:
        """Refuse."""
        raise EnvironmentRefused(f"No environment {environment} is known here")


MARK = 100
"""Characters of a mark: longer names are cut on the way."""


def mark(rollout: Rollout) -> str:
    """Return by what a rollout is known elsewhere: what begins there is begun in this name."""
    return f"rollout {rollout.pk} of {settings.ENVIRONMENT}, {rollout.started_by}"[:MARK]


_known: list[Callable[[], Environments]] = [NoEnvironments]


def register(environments: Callable[[], Environments]) -> None:
    """Let rollouts reach other environments."""
    _known[:] = [environments]


def known() -> Environments:
    """Return the way to the other environments."""
    return _known[0]()
