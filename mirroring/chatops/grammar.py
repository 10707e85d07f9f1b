"""The grammar: words to an act. The shell, Slack and the API of another deployment all read it here."""

import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NoReturn

from mirroring.chatops import configuration
from mirroring.chatops.act import Act, Answer, Caller

DEFAULT_ENVIRONMENT = "production"


class Usage(ValueError):
    """The words are no command; the text says what would be."""


class HelpAsked(Exception):
    """Somebody asked for help; the text is it."""


class _Parser(ArgumentParser):
    """Python's parser, which says what is wrong in place of ending the process."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        raise Usage(f"{message}. Usage: {' '.join(self.format_usage().split()[1:])}")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise HelpAsked(message or "")

    def print_help(self, file: Any = None) -> NoReturn:
        raise HelpAsked(self.format_help())


def split(text: str) -> list[str]:
    """Split what somebody typed. Phones and Slack turn -- and quotes into other characters: they are turned back."""
    for typed, meant in (
        ("\u2014", "--"),
        ("\u2013", "--"),
        ("\u201c", '"'),
        ("\u201d", '"'),
        ("\u2019", "'"),
    ):
        text = text.replace(typed, meant)
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Usage(f"{error}: close the quote") from None


def targets(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take the environments out of the words; return them, production if none is named, and the words left."""
    names = configuration.current().names
    asked = [name for name in names if f"--{name}" in words]
    rest = [word for word in words if word.removeprefix("--") not in asked or not word.startswith("--")]
    return asked or [DEFAULT_ENVIRONMENT], rest


def parse(words: Sequence[str], acts: Sequence[Act]) -> tuple[Act, Namespace]:
    """Return the act that the words ask for, with its options; raise Usage or HelpAsked."""
    parser = _Parser(prog="chatops run", description="Environments: --dev --staging --canary --production.")
    add_acts(parser, acts)
    options = parser.parse_args(list(words))
    return options.act, options


def add_acts(
    parser: ArgumentParser,
    acts: Sequence[Act],
    *,
    depth: int = 0,
    finish: Callable[[ArgumentParser], object] = lambda parser: None,
) -> None:
    """Add a parser for each act below `parser`; `finish` adds what a way in has beyond the grammar."""
    below = parser.add_subparsers(metavar="COMMAND", required=True)
    ordered = sorted(acts, key=lambda act: act.words[depth])
    for word, together in groupby(ordered, key=lambda act: act.words[depth]):
        members = list(together)
        first = members[0]
        if len(members) == 1 and len(first.words) == depth + 1:
            child = below.add_parser(word, help=first.help, description=first.help)
            first.arguments(child)
            child.set_defaults(act=first)
            finish(child)
        else:
            child = below.add_parser(word, help=", ".join(member.words[-1] for member in members))
            add_acts(child, members, depth=depth + 1, finish=finish)


def run(words: Sequence[str], acts: Sequence[Act], *, caller: Caller) -> Answer:
    """Run one command in this deployment."""
    act, options = parse(words, acts)
    return act.run(options, caller)
