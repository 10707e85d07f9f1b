"""What one command is made of."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mirroring.flags.changes import Origin


@dataclass(frozen=True)
class Caller:
    """Who runs a command, and by which way in."""

    by: str
    origin: Origin


@dataclass(frozen=True)
class Answer:
    """What a command says. `flags`: those that it changed, whose teams are told."""

    text: str
    data: Any = None
    ok: bool = True
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def whole_text(self) -> str:
        """Return the text with its notes."""
        return "\n".join((self.text, *self.notes))


def _no_arguments(parser: ArgumentParser) -> None:
    """Take none."""


@dataclass(frozen=True)
class Act:
    """One command of the grammar.

    `changes`: it writes, so from Slack it takes an operator; `changes_if`: it does with some options. `calms`: what it
    writes turns something off, which no other environment's refusal may hold up. `everywhere`: it looks at all
    environments by itself, so it runs here and takes no environment.
    """

    words: tuple[str, ...]
    help: str
    run: Callable[[Namespace, Caller], Answer]
    arguments: Callable[[ArgumentParser], None] = field(default=_no_arguments)
    changes: bool = False
    changes_if: Callable[[Namespace], bool] = field(default=lambda options: False)
    calms: Callable[[Namespace], bool] = field(default=lambda options: False)
    everywhere: bool = False

    def writes(self, options: Namespace) -> bool:
        """Say whether it changes anything when it is run with these options."""
        return self.changes or self.changes_if(options)

    def stirs(self, options: Namespace) -> bool:
        """Say whether it changes something with these options other than by turning it off."""
        return self.writes(options) and not self.calms(options)


def always(options: Namespace) -> bool:
    """Say yes, whatever the options."""
    return True


class ActFailed(Exception):
    """A command cannot do what it was asked to; the text says why and what to do next."""
