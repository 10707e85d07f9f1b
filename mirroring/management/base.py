"""What the commands share: acts below one command, `--json` for each, and one clear line for each error."""

import argparse
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error as AnyDatabaseError

from mirroring.catalog import CatalogError
from mirroring.chatops.act import ActFailed
from mirroring.flags.actors import UnknownActor
from mirroring.flags.changes import FlagRefused
from mirroring.flags.registry import UnknownFlag
from mirroring.management.failures import Failed, database_line, disk_line
from mirroring.models.key_list import KeysUnusable

Options = dict[str, Any]
Act = Callable[[Options], None]

EXPECTED = (Failed, ActFailed, CatalogError, FlagRefused, KeysUnusable, UnknownActor, UnknownFlag)
"""Refusals: their text is the line to show."""


class ActCommand(BaseCommand):
    """A command with acts below it: `manage.py COMMAND ACT ...`."""

    # The checks are for `manage.py check` and the start of the stack; here they would double the time to answer.
    requires_system_checks: list[str] = []

    def acts(self, parser: CommandParser) -> Callable[..., CommandParser]:
        """Return a function that adds one act: its name, what it calls, and its help."""
        below = parser.add_subparsers(metavar="ACT", required=True)

        def add(name: str, run: Act | None, text: str) -> CommandParser:
            act: CommandParser = below.add_parser(name, help=text, description=text)
            if run is not None:
                act.add_argument("--json", action="store_true", help="print JSON")
                act.set_defaults(run=run)
            return act

        return add

    def handle(self, *args: object, **options: Any) -> None:
        """Run the act that was asked for."""
        options["run"](options)

    def execute(self, *args: Any, **options: Any) -> None:
        """Run the command; turn what people and databases do wrong into one line and exit code 1."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A terminal without our characters is no reason to fail.
            sys.stdout.reconfigure(errors="replace")
        try:
            with _quiet_logs(verbose=options["verbosity"] > 1):
                super().execute(*args, **options)
                self.stdout.flush()
        except EXPECTED as error:
            self._fail(str(error), error=error, trace=options["traceback"])
        except AnyDatabaseError as error:
            self._fail(database_line(error), error=error, trace=options["traceback"])
        except BrokenPipeError:  # The reader, `head` say, has seen enough.
            _drop_output()
            sys.exit(0)
        except OSError as error:
            _drop_output()
            self._fail(disk_line(error), error=error, trace=options["traceback"])
        except KeyboardInterrupt:
            sys.exit(130)

    def _fail(self, line: str | None, *, error: Exception, trace: bool) -> None:
        if line is None or trace:
            raise error
        self.stderr.write(line)
        sys.exit(1)

    def show(self, data: object, text: str, options: Options) -> None:
        """Print the result: as JSON if that was asked for, else as text."""
        self.stdout.write(json.dumps(data, indent=2, default=_as_json) if options["json"] else text)

    def note(self, text: str) -> None:
        """Say something beside the result, where it does not disturb who reads that."""
        self.stderr.write(text, style_func=str)


def _drop_output() -> None:
    """Keep Python from complaining at its exit that it cannot flush the output."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def true_or_false(text: str) -> bool:
    """Read the value of a flag: an argparse type."""
    if text not in {"true", "false"}:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"


def _as_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@contextmanager
def _quiet_logs(*, verbose: bool) -> Iterator[None]:
    """Keep the log lines of the acts out of the terminal: the commands say in their own words what happens."""
    logger = logging.getLogger("mirroring")
    before = logger.level
    logger.setLevel(before if verbose else logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
