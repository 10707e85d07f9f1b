"""The measures that guards judge, and how a definition's effect becomes a guard."""

from mirroring.flags.definition import Direction as Side
from mirroring.flags.definition import Effect, EffectKind
from mirroring.rollout.guards import Direction, Guard, Kind

PER_MIRROR = frozenset({"redis_round_trips", "redis_calls"})
"""Kept in absolute terms and per scheduled mirror. A multiple is told per mirror, as load differs from hour to hour; a
peak is absolute, as that is what a server has to bear."""

FLOORS = {
    "lag_seconds": 5.0,
    "queue_delay_seconds": 1.0,
    "import_failures": 1.0,
    "import_seconds": 0.1,
    "bounced": 0.2,
    "over_scheduled": 0.2,
    "capacity_used": 0.01,
}
"""Below these a value is noise: a multiple counts from here, so that nothing is compared with next to nothing."""

FROM_REDIS = frozenset(
    {
        "redis_round_trips",
        "redis_calls",
        "over_scheduled",
        "bounced",
        "scheduled",
        "queue_delay_seconds",
        "capacity_used",
        "slots_leaked",
    }
)
"""Measures that cannot be taken while Redis is away."""

_SIDES = {Side.AT_MOST: Direction.UP, Side.AT_LEAST: Direction.DOWN}
_KINDS = {
    EffectKind.RATIO: Kind.RATIO,
    EffectKind.PEAK: Kind.PEAK,
    EffectKind.LEVEL: Kind.ABSOLUTE,
    EffectKind.DIFFERENCE: Kind.DIFFERENCE,
}


def guard_of(effect: Effect) -> Guard:
    """Return the guard that holds a flag to an effect which its definition promises."""
    return Guard(effect.metric, _SIDES[effect.direction], effect.bound, _KINDS[effect.kind])


def series_of(guard: Guard) -> str:
    """Return the name under which samples keep what a guard judges."""
    per_mirror = guard.kind is Kind.RATIO and guard.metric in PER_MIRROR
    return f"{guard.metric}_per_mirror" if per_mirror else guard.metric
