"""What a change makes of a flag's state. Pure: every refusal here is of something that cannot be meant."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from mirroring.flags.definition import ActorKind, Definition
from mirroring.flags.state import State

if TYPE_CHECKING:
    from mirroring.flags.gates import Judgement

THOUSANDTH = Decimal("0.001")


class Refused(ValueError):
    """A change was refused; the message says why and how to go on. `judged`: what the gates found, if asked."""

    def __init__(self, text: str, *, judged: "Sequence[Judgement]" = ()) -> None:
        super().__init__(text)
        self.judged = tuple(judged)


@dataclass(frozen=True)
class Change:
    """What is asked for: one of on, off, a share of actors, and to forget; or actors more or less.

    Actors are written as `mirroring.flags.actors.parse` returns them. `on_until`: on is a lease that ends then.
    """

    on: bool | None = None
    percentage: Decimal | float | None = None
    actors_add: tuple[str, ...] = ()
    actors_remove: tuple[str, ...] = ()
    on_until: datetime | None = None
    forget: bool = False


def apply(state: State, change: Change, *, definition: Definition, now: datetime) -> State:
    """Return what the state becomes. Off is off for everybody: nobody stays listed."""
    _check(change)
    if change.forget:
        return State(on=definition.default)
    if change.on is False:
        return State(is_set=True)
    if change.on:
        since = state.on_since if state.on else now
        return State(is_set=True, on=True, on_until=change.on_until, on_since=since)
    _check_partial(state, definition)
    share_of_all = state.percentage if change.percentage is None else share(change.percentage)
    actors = (state.actors | set(change.actors_add)) - set(change.actors_remove)
    until = change.on_until if change.percentage is not None else state.on_until
    return replace(state, is_set=True, percentage=share_of_all, actors=actors, on_until=until, on_since=None)


def share(value: Decimal | float | str) -> Decimal:
    """Return a percentage from 0 to 100, to a thousandth; raise Refused."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise Refused(f"{value!r} is no percentage: give a number from 0 to 100") from None
    if not number.is_finite() or not 0 <= number <= 100:
        raise Refused(f"{value} is no percentage: give a number from 0 to 100")
    if number != number.quantize(THOUSANDTH):
        raise Refused(
            f"{value} is finer than a thousandth of a per cent, which is as fine as actors are told apart"
        )
    return number.quantize(THOUSANDTH)


def _check(change: Change) -> None:
    asked = [change.on is not None, change.percentage is not None, change.forget]
    if sum(asked) > 1:
        raise Refused("Ask for one thing: on, off, a percentage, or to forget what was set")
    if (change.actors_add or change.actors_remove) and (change.on is not None or change.forget):
        raise Refused(
            "Actors are listed one by one, or the flag is on or off for all: ask for one of the two"
        )
    if not any(asked) and not change.actors_add and not change.actors_remove:
        raise Refused("Nothing was asked for: give true, false, a percentage or actors")
    if change.on_until is not None and not (change.on or change.percentage):
        raise Refused("A lease is for a flag that is turned on")


def _check_partial(state: State, definition: Definition) -> None:
    if definition.actor is ActorKind.NONE:
        raise Refused(
            f"{definition.name} is read once for the whole service, not for each mirror or host (actor: none): "
            "it is on or off for all. Set it to true or false; roll it out environment by environment"
        )
    if state.on:
        raise Refused(
            f"{definition.name} is on for everybody, so a share or a list of actors would take it away from most: "
            "if you mean that, set it to false first"
        )
