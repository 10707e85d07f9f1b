"""waffle's own commands write past the checks and the audit, so they are taken out of service."""

import argparse

from django.core.management.base import BaseCommand, CommandError, CommandParser


class OutOfService(BaseCommand):
    """Stands in for a command of waffle, whatever its arguments."""

    help = "Out of service: it would write past the gates and the audit. Use `manage.py feature`."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Take anything, so that the refusal is what one reads."""
        parser.add_argument("rest", nargs=argparse.REMAINDER)

    def run_from_argv(self, argv: list[str]) -> None:
        """Take also options that waffle's command has."""
        super().run_from_argv([*argv[:2], "--", *argv[2:]])

    def handle(self, *args: object, **options: object) -> None:
        """Refuse."""
        raise CommandError(
            "waffle's commands write past the gates and the audit: use `manage.py feature` instead"
        )
