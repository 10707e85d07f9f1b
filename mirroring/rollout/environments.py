"""Other deployments, as far as a rollout needs them. Who can reach them registers here, from above."""

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from mirroring.models import RolloutState


class Environments(Protocol):
    """Starts a rollout of one step in another environment and follows it: each judges by its own samples."""

    def names(self) -> list[str]:
        """Return the environments before this one, in their order."""

    def start(self, environment: str, flag: str, *, interval: timedelta, by: str) -> None:
        """Begin there; raise EnvironmentRefused."""

    def state(self, environment: str, flag: str) -> RolloutState | None:
        """Return where the latest rollout stands there; None if there was none; raise EnvironmentRefused."""

    def turn_off(self, environment: str, flag: str, *, by: str, why: str) -> None:
        """Turn the flag off there; raise EnvironmentRefused."""


class EnvironmentRefused(Exception):
    """Another environment did not do it, or could not be reached."""


class NoEnvironments:
    """A deployment that knows of no other."""

    def names(self) -> list[str]:
        """Return none."""
        return []

    def start(self, environment: str, flag: str, *, interval: timedelta, by: str) -> None:
        """Refuse."""
        raise EnvironmentRefused(f"No environment {environment} is known here")

    def state(self, environment: str, flag: str) -> RolloutState | None:
        """Refuse."""
        raise EnvironmentRefused(f"No environment {environment} is known here")

    def turn_off(self, environment: str, flag: str, *, by: str, why: str) -> None:
        """Refuse."""
        raise EnvironmentRefused(f"No environment {environment} is known here")


_known: list[Callable[[], Environments]] = [NoEnvironments]


def register(environments: Callable[[], Environments]) -> None:
    """Let rollouts reach other environments."""
    _known[:] = [environments]


def known() -> Environments:
    """Return the way to the other environments."""
    return _known[0]()
