"""What the acts on mirrors are given on the command line."""

import argparse
from datetime import UTC, datetime, timedelta

from django.core.management.base import CommandParser

from mirroring.flags.definition_file import duration
from mirroring.management.selection import REMOVED, STATUSES
from mirroring.models import OnDivergence, RefSelection

MAX_SPREAD_DAYS = 30


def for_one(parser: CommandParser) -> None:
    """Define the name of a mirror."""
    parser.add_argument("mirror", metavar="NAME", help="GROUP/NAME, or NAME where no other group has one")


def for_explain(parser: CommandParser) -> None:
    """Define which mirror to explain, or that it is all of them."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "mirror", nargs="?", metavar="NAME", help="GROUP/NAME, or NAME where no other group has one"
    )
    which.add_argument("--all", action="store_true", help="every mirror that is kept")


def for_add(parser: CommandParser) -> None:
    """Define what a new mirror is configured by."""
    parser.add_argument("url", metavar="URL", help="https://HOST/PATH or http://HOST/PATH")
    _new(parser)


def for_adopt(parser: CommandParser) -> None:
    """Define which repository becomes which mirror."""
    parser.add_argument("path", metavar="PATH", help="a bare repository on this machine; it is only read")
    parser.add_argument("url", metavar="URL", help="what it is a copy of")
    _new(parser)


def for_adopt_list(parser: CommandParser) -> None:
    """Define the list, and over which time the first imports are spread."""
    for_import(parser)
    parser.add_argument(
        "--over",
        type=_minutes,
        metavar="MIN",
        help="minutes over which the first imports are spread (default: mirror_min_delay)",
    )


def for_edit(parser: CommandParser) -> None:
    """Define what can be changed."""
    for_one(parser)
    parser.add_argument("--url")
    _configuration(parser)
    access = parser.add_mutually_exclusive_group()
    access.add_argument("--credential", metavar="C", help="what its upstream asks for")
    access.add_argument("--no-credential", action="store_true", help="nothing is shown to its upstream")


def for_list(parser: CommandParser) -> None:
    """Define what a list is narrowed by."""
    status = parser.add_mutually_exclusive_group()
    status.add_argument("--status", choices=STATUSES)
    status.add_argument("--removed", dest="status", action="store_const", const=REMOVED, help="those removed")
    parser.add_argument("--group", metavar="G")
    parser.add_argument("--credential", metavar="C", help="what their upstreams are shown")


def for_pause(parser: CommandParser) -> None:
    """Define why a mirror is paused."""
    for_one(parser)
    parser.add_argument("--reason", default="", metavar="R", help="shown wherever the mirror is")


def for_move(parser: CommandParser) -> None:
    """Define what is decided about the URL that an upstream moved to."""
    for_one(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--accept", action="store_true", help="mirror the new URL, from now on")
    which.add_argument("--decline", action="store_true", help="go on with the old one, and ask no more")


def for_restore(parser: CommandParser) -> None:
    """Define under which name a mirror comes back."""
    for_one(parser)
    parser.add_argument("--as", dest="new_name", metavar="N", help="the name to restore it under")


def for_import(parser: CommandParser) -> None:
    """Define the list, and the group of lines that name none."""
    parser.add_argument(
        "file", metavar="FILE", help="one URL a line, CSV with a header, or JSON; '-': standard input"
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--group", default="", metavar="G", help="for lines that name none (default: default)")
    group.add_argument(
        "--group-from-url", action="store_true", help="the folder before the repository's name"
    )


def _minutes(text: str) -> timedelta:
    try:
        minutes = float(text)
        if not 0 <= minutes <= MAX_SPREAD_DAYS * 24 * 60:
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of minutes up to {MAX_SPREAD_DAYS} days"
        ) from None
    return timedelta(minutes=minutes)


def _new(parser: CommandParser) -> None:
    _configuration(
        parser,
        group=" (default: default)",
        name=" (default: from the URL)",
        refs=" (default: default)",
        divergence=" (default: overwrite)",
    )
    parser.add_argument("--credential", metavar="C", help="what its upstream asks for: see `credential list`")


def for_secret(parser: CommandParser, *, host_required: bool) -> None:
    """Define what a credential is made of. The secret itself is no argument: others could read it."""
    keeps = "" if host_required else " (default: as it was)"
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        required=host_required,
        metavar="H",
        help=f"where it is sent, and nowhere else; repeatable{keeps}",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--secret-file",
        metavar="FILE",
        help="the password, token or private key; '-': standard input (the default where that is no terminal)",
    )
    source.add_argument(
        "--generate", action="store_true", help="make an SSH key here, and show its public half"
    )
    parser.add_argument("--user", default="", metavar="U", help="the user name that goes with a password")
    parser.add_argument("--app", default="", metavar="ID", help="of a GitHub App")
    parser.add_argument("--installation", default="", metavar="ID", help="of a GitHub App")
    parser.add_argument("--api", default="", metavar="URL", help="of a GitHub other than github.com")
    parser.add_argument("--expires", type=when, metavar="DATE", help="2027-01-31: warnings come before it")
    parser.add_argument(
        "--allow-http", action="store_true", default=None, help="send it over http:// too, in clear"
    )


def lasting(text: str) -> timedelta:
    """Read how long something lasts: an argparse type."""
    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def when(text: str) -> datetime | str:
    """Read a date (its first moment, UTC), a time with offset, or `never`: an argparse type."""
    if text == "never":
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date: write 2027-01-31, or never") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _configuration(
    parser: CommandParser, *, group: str = "", name: str = "", refs: str = "", divergence: str = ""
) -> None:
    parser.add_argument("--group", metavar="G", help=f"its group, made where it is missing{group}")
    parser.add_argument("--name", metavar="N", help=f"its name within the group{name}")
    parser.add_argument("--refs", choices=RefSelection.values, help=f"which refs to keep{refs}")
    parser.add_argument(
        "--pattern",
        action="append",
        default=[],
        metavar="P",
        help="refs to keep, say refs/heads/release/*; repeatable",
    )
    parser.add_argument(
        "--on-divergence",
        choices=OnDivergence.values,
        help=f"if the upstream rewrites branches: follow it, or keep what is mirrored{divergence}",
    )
