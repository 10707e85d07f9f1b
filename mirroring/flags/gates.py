"""What holds back turning a flag on. Nothing here is ever asked when one is turned off.

A gate that cannot find out what it has to know refuses: turning on can wait, and each refusal says how to go on.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings

from mirroring.flags import incidents, milestones, registry
from mirroring.flags.definition import Definition
from mirroring.flags.milestones import milestone_number
from mirroring.flags.models import Flag
from mirroring.flags.state import State
from mirroring.models.change_freeze import ChangeFreeze

EVERY_GATE = "all"


class Outcome(StrEnum):
    """How a gate judged."""

    PASSED = "passed"
    REFUSED = "refused"
    OVERRIDDEN = "overridden"


@dataclass(frozen=True)
class Proposal:
    """A flag that is to be turned on, for all or for more than before."""

    definition: Definition
    before: State
    after: State
    now: datetime


@dataclass(frozen=True)
class Finding:
    """What a gate checked, and what it found."""

    passed: bool
    checked: str


@dataclass(frozen=True)
class Judgement:
    """A finding with its gate, and whether it was overridden."""

    gate: str
    outcome: Outcome
    checked: str

    def as_json(self) -> dict[str, Any]:
        """Return it as the audit keeps it."""
        return {"gate": self.gate, "outcome": str(self.outcome), "checked": self.checked}


Gate = Callable[[Proposal], Finding]
_gates: dict[str, Gate] = {}


def register(name: str, gate: Gate) -> None:
    """Add a gate. What only a higher layer can find out is registered from there, when Django starts."""
    _gates[name] = gate


def names() -> list[str]:
    """Return the gates, as `--override` takes them."""
    return [*_gates]


def judge(proposal: Proposal, *, overrides: Iterable[str]) -> list[Judgement]:
    """Ask every gate, also behind one that refuses: who reads the answer is to see all that is in the way."""
    found = ((name, gate(proposal)) for name, gate in _gates.items())
    chosen = set(overrides)
    return [Judgement(name, _outcome(finding, name, chosen), finding.checked) for name, finding in found]


def _outcome(finding: Finding, name: str, overrides: set[str]) -> Outcome:
    if finding.passed:
        return Outcome.PASSED
    return Outcome.OVERRIDDEN if overrides & {name, EVERY_GATE} else Outcome.REFUSED


def _passes(text: str) -> Finding:
    return Finding(passed=True, checked=text)


def _holds_back(text: str) -> Finding:
    return Finding(passed=False, checked=text)


def requires(proposal: Proposal) -> Finding:
    """Refuse while the flag that this one builds on is off."""
    required = proposal.definition.requires
    if required is None:
        return _passes("it requires no other flag")
    state = _state(required.flag, proposal.now)
    if state.for_all:
        return _passes(f"{required.flag}, which it requires, is on")
    return _holds_back(_required_is(required.flag, state))


def stable(proposal: Proposal) -> Finding:
    """Refuse until the flag that this one builds on has been on for long enough."""
    required = proposal.definition.requires
    if required is None:
        return _passes("it requires no other flag")
    state, wanted = _state(required.flag, proposal.now), _stable_for(required.stable_for)
    if state.on_until is not None:
        return _holds_back(f"{required.flag} is in the middle of a guarded rollout")
    if state.on_since is None:
        settled = state.on and not state.is_set
        text = f"{required.flag} is on by default" if settled else _required_is(required.flag, state)
        return Finding(passed=settled, checked=text)
    on_for = proposal.now - state.on_since
    text = f"{required.flag} has been on for {_words(on_for)} of the {_words(wanted)} that count as stable"
    return Finding(passed=on_for >= wanted, checked=text)


def expired(proposal: Proposal) -> Finding:
    """Refuse a flag that should be gone."""
    end, current = proposal.definition.intended_end, milestones.CURRENT
    if milestone_number(current) <= milestone_number(end):
        return _passes(f"it is to end with milestone {end}, and this is {current}")
    return _holds_back(f"its life ended with milestone {end}, and this is {current}: clean it up")


def freeze(proposal: Proposal) -> Finding:
    """Refuse while somebody has switched changes off."""
    held = ChangeFreeze.current()
    if held is None:
        return _passes("no change freeze holds")
    return _holds_back(f"a change freeze holds since {held.began_at:%Y-%m-%d %H:%M} UTC: {held}")


def incident(proposal: Proposal) -> Finding:
    """Refuse while an incident is open, as the configured source tells."""
    if not settings.INCIDENTS_URL:
        return _passes("no source of incidents is configured (INCIDENTS_URL)")
    try:
        open_now = incidents.blocking(settings.INCIDENTS_URL, token=settings.INCIDENTS_TOKEN)
    except incidents.SourceDown as error:
        return _holds_back(f"the source of incidents cannot be asked: {error}")
    if open_now:
        return _holds_back(f"open now: {'; '.join(open_now)}")
    return _passes("the source of incidents names none that is open, and no freeze")


def _required_is(name: str, state: State) -> str:
    return f"it requires {name}, which is {state.words()}"


def _state(name: str, now: datetime) -> State:
    row = Flag.objects.filter(name=name).first()
    return State.of(row, definition=registry.definition(name), now=now)


def _stable_for(defined: timedelta) -> timedelta:
    """Return how long is stable. A rehearsal, which has no days to wait, sets it for all flags."""
    rehearsed = settings.FLAG_STABLE_SECONDS
    return defined if rehearsed is None else timedelta(seconds=rehearsed)


def _words(span: timedelta) -> str:
    for unit, seconds in (("d", 86_400), ("h", 3600), ("min", 60)):
        if span.total_seconds() >= seconds:
            return f"{span.total_seconds() / seconds:.3g} {unit}"
    return f"{span.total_seconds():.3g} s"


register("requires", requires)
register("stable", stable)
register("expired", expired)
register("freeze", freeze)
register("incident", incident)
