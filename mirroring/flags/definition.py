"""What the repository says of a flag."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class FlagType(StrEnum):
    """What a flag is for. Each type but `ops` has to end."""

    DERISK = "derisk"
    WIP = "wip"
    BETA = "beta"
    EXPERIMENT = "experiment"
    OPS = "ops"


MAX_LIFE: Mapping[FlagType, int | None] = {
    FlagType.DERISK: 2,
    FlagType.WIP: 4,
    FlagType.BETA: 6,
    FlagType.EXPERIMENT: 6,
    FlagType.OPS: None,
}
"""How many milestones a flag may live. Counted in releases, not days: a checkout does not go stale by lying about."""


class ActorKind(StrEnum):
    """What a percentage is a percentage of. `none`: the flag is on or off for all."""

    NONE = "none"
    MIRROR = "mirror"
    HOST = "host"


class Direction(StrEnum):
    """On which side of its bound a metric is to stay."""

    AT_MOST = "at_most"
    AT_LEAST = "at_least"


class EffectKind(StrEnum):
    """What is held against the bound.

    ratio: mean after by mean before; peak: busiest sample after by busiest before; level: mean after;
    difference: mean after minus mean before.
    """

    RATIO = "ratio"
    PEAK = "peak"
    LEVEL = "level"
    DIFFERENCE = "difference"


METRICS = frozenset(
    {
        "redis_round_trips",
        "redis_calls",
        "over_scheduled",
        "bounced",
        "queue_delay_seconds",
        "import_failures",
        "import_seconds",
        "lag_seconds",
        "capacity_used",
        "slots_leaked",
    }
)
"""What the product samples of itself, and so what an effect can be about."""


@dataclass(frozen=True)
class Owner:
    """Whom to ask."""

    team: str
    contact: str
    channel: str


@dataclass(frozen=True)
class Requirement:
    """A flag that has to be on, for so long, before this one may be turned on."""

    flag: str
    stable_for: timedelta


@dataclass(frozen=True)
class Effect:
    """What turning the flag on is expected to do to one metric; a guard of its rollout."""

    metric: str
    direction: Direction
    bound: float
    kind: EffectKind


@dataclass(frozen=True)
class Definition:
    """What the repository says of a flag."""

    name: str
    description: str
    type: FlagType
    owner: Owner
    introduced_by: str
    milestone: str
    rollout_issue: str
    default: bool
    actor: ActorKind
    requires: Requirement | None
    effects: tuple[Effect, ...]
    cleanup_hook: str | None
    intended_end: str
