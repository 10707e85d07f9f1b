"""Guards: what a measure may do after a flag is on, and what follows when it does worse. Pure: no Django, no clock.

A guard knows a measure and a bound, never a flag. For a global flag it compares after with before, for a flag by
actor the arm that has it with the arm that has not: both are two lists of values.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from statistics import fmean


class Verdict(StrEnum):
    """What one look at one guard says."""

    GOOD = "good"
    BAD = "bad"
    NO_DATA = "no_data"
    QUERY_ERROR = "query_error"
    TOO_FEW = "too_few"


class Action(StrEnum):
    """What to do. The worst of several wins."""

    GO_ON = "go_on"
    HOLD = "hold"
    ROLL_BACK = "roll_back"


SEVERITY = list(Action)


class Direction(StrEnum):
    """Where worse is."""

    UP = "up"
    DOWN = "down"


class Kind(StrEnum):
    """What is held against the bound."""

    RATIO = "ratio"  # The mean, as a multiple of the mean before.
    DIFFERENCE = "difference"  # The mean, less the mean before.
    ABSOLUTE = "absolute"  # The mean alone.
    PEAK = "peak"  # The highest value, as a multiple of the highest before.


@dataclass(frozen=True)
class Guard:
    """A bound on one measure: worse than this is bad."""

    metric: str
    direction: Direction
    bound: float
    kind: Kind

    @property
    def compares(self) -> bool:
        """Say whether the guard needs a baseline."""
        return self.kind is not Kind.ABSOLUTE

    def __str__(self) -> str:
        return f"{self.metric} {self.allowed}"

    @property
    def allowed(self) -> str:
        """Return the bound in words."""
        side = "at most" if self.direction is Direction.UP else "at least"
        of = {
            Kind.RATIO: " times before",
            Kind.PEAK: " times the peak before",
            Kind.DIFFERENCE: " beside before",
        }
        return f"{side} {self.bound:g}{of.get(self.kind, '')}"


@dataclass(frozen=True)
class Reading:
    """The values of one measure in one window or arm, and what went wrong in asking for them."""

    values: Sequence[float] = ()
    errors: Sequence[str] = ()
    floor: float = 0.0  # A multiple counts from here: less is noise.
    seen: int | None = None  # How much the values were made of, where that is not one thing each.

    @property
    def size(self) -> int:
        """Return how much stands behind the values."""
        return len(self.values) if self.seen is None else self.seen


@dataclass(frozen=True)
class Judgement:
    """What one guard says now, with the two figures that it compared."""

    guard: Guard
    verdict: Verdict
    baseline: float | None = None
    current: float | None = None
    why: str = ""


def judge(guard: Guard, baseline: Reading, current: Reading, *, min_samples: int) -> Judgement:
    """Compare. Only enough finite values on every side can be good or bad; anything else says why it cannot be."""
    sides = [current, baseline] if guard.compares else [current]
    for side, name in zip(sides, ("now", "before"), strict=False):
        if side.errors:
            return Judgement(guard, Verdict.QUERY_ERROR, why=f"{name}: {side.errors[-1]}")
        if not all(map(math.isfinite, side.values)):
            return Judgement(guard, Verdict.QUERY_ERROR, why=f"{name}: a value is not a finite number")
        if not side.values:
            return Judgement(guard, Verdict.NO_DATA, why=f"{name}: no samples")
        if side.size < min_samples:
            return Judgement(guard, Verdict.TOO_FEW, why=f"{name}: {side.size} of {min_samples} samples")
    pick = max if guard.kind is Kind.PEAK else fmean
    now = pick(current.values)
    before = pick(baseline.values) if guard.compares else None
    return _compare(guard, before=before, now=now, floor=current.floor)


def _compare(guard: Guard, *, before: float | None, now: float, floor: float) -> Judgement:
    held = now
    if before is not None and guard.kind is Kind.DIFFERENCE:
        held = now - before
    elif before is not None:
        if max(before, floor) <= 0:
            verdict = Verdict.GOOD if now <= 0 else Verdict.NO_DATA
            return Judgement(guard, verdict, before, now, why="it was zero before: no multiple can be told")
        held = max(now, floor) / max(before, floor)
    worse = held > guard.bound if guard.direction is Direction.UP else held < guard.bound
    return Judgement(
        guard, Verdict.BAD if worse else Verdict.GOOD, before, now, why=f"{held:.4g} against {guard.allowed}"
    )


@dataclass(frozen=True)
class Budget:
    """How many such looks are borne, and what follows the next."""

    allowed: int
    action: Action


@dataclass(frozen=True)
class Budgets:
    """One budget for each trouble. By default none lets a rollout go on blind, and only a bad value takes it back."""

    bad: Budget = Budget(0, Action.ROLL_BACK)
    no_data: Budget = Budget(3, Action.HOLD)
    query_error: Budget = Budget(3, Action.HOLD)
    too_few: Budget = Budget(3, Action.HOLD)


@dataclass(frozen=True)
class Tally:
    """How many looks in this step were in trouble: bad ones in all, the others in a row."""

    bad: int = 0
    no_data: int = 0
    query_error: int = 0
    too_few: int = 0

    def after(self, verdicts: Iterable[Verdict]) -> "Tally":
        """Return the tally after one more look."""
        seen = set(verdicts)
        return Tally(
            bad=self.bad + (Verdict.BAD in seen),
            no_data=self.no_data + 1 if Verdict.NO_DATA in seen else 0,
            query_error=self.query_error + 1 if Verdict.QUERY_ERROR in seen else 0,
            too_few=self.too_few + 1 if Verdict.TOO_FEW in seen else 0,
        )


@dataclass(frozen=True)
class Decision:
    """What to do after a look. `may_advance`: the next step may be taken once its time has come."""

    action: Action
    may_advance: bool
    why: str = ""
    exceeded: tuple[str, ...] = field(default=())


def decide(tally: Tally, verdicts: Iterable[Verdict], budgets: Budgets) -> Decision:
    """Take the worst action of the exceeded budgets. A step is left only on evidence, or where a budget says go on."""
    kinds = [each.name for each in fields(Tally)]
    exceeded = [kind for kind in kinds if getattr(tally, kind) > getattr(budgets, kind).allowed]
    actions = [getattr(budgets, kind).action for kind in exceeded]
    action = max(actions, key=SEVERITY.index, default=Action.GO_ON)
    forgiven = {kind for kind, act in zip(exceeded, actions, strict=True) if act is Action.GO_ON} | {
        Verdict.GOOD
    }
    blind = sorted({str(verdict) for verdict in verdicts} - forgiven)
    why = "; ".join(
        f"{kind}: {getattr(tally, kind)} of {getattr(budgets, kind).allowed} borne" for kind in exceeded
    )
    return Decision(action, action is Action.GO_ON and not blind, why or ", ".join(blind), tuple(exceeded))
