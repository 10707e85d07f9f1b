"""`manage.py up`: run the whole stack on this machine, in the foreground."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandParser
from django.db import connection

from mirroring import catalog
from mirroring.catalog.errors import BadList
from mirroring.management.base import ActCommand
from mirroring.management.failures import Failed
from mirroring.management.list_files import complaint, read_list_file
from mirroring.stack import foreground
from mirroring.stack.errors import StackError
from mirroring.stack.foreground import STACK_USER, Plan
from mirroring.stack.processes import Layout
from mirroring.stack.state_folder import StateFolder, claim
from mirroring.upstream.policy.guard import VARIABLE

Listed = list[tuple[int, catalog.Wanted]]


class Command(ActCommand):
    """Start everything, keep it running, stop it cleanly."""

    help = "Run the whole stack in the foreground: Valkey, web, workers, beat and Flower. Ctrl-C stops it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument(
            "--mirrors", default="", metavar="FILE", help="a list to import once the stack is up"
        )
        parser.add_argument(
            "--verbose", action="store_true", help="repeat every process's log on the terminal"
        )

    def handle(self, *args: object, **options: Any) -> None:
        """Run the stack until it is told to stop."""
        mirrors = options["mirrors"]
        wanted = _read_list(mirrors) if mirrors else []
        self.check()
        try:
            with claim(settings.STATE_DIR) as folder:
                foreground.run(
                    self._plan(verbose=options["verbose"]),
                    folder,
                    prepare=lambda: self._prepare(folder, mirrors=mirrors, wanted=wanted),
                    greet=lambda: self._greet(folder),
                    mirrors=mirrors,
                )
        except StackError as error:
            raise Failed(str(error)) from error
        except OSError as error:
            raise Failed(f"{error.strerror}: {error.filename or settings.STATE_DIR}") from error

    def _plan(self, *, verbose: bool) -> Plan:
        layout = Layout(
            web_host=settings.WEB_HOST,
            web_port=settings.WEB_PORT,
            flower_port=settings.FLOWER_PORT,
            import_slots=settings.IMPORT_SLOTS,
        )
        return Plan(
            root=settings.BASE_DIR,
            layout=layout,
            public_url=settings.PUBLIC_URL,
            flower_url=settings.FLOWER_URL,
            redis_url=os.environ.get("REDIS_URL", ""),
            flower_password=os.environ.get("FLOWER_PASSWORD", ""),
            shared={VARIABLE: os.environ.get(VARIABLE, "")},
            verbose=verbose,
            say=self._say,
        )

    def _say(self, line: str) -> None:
        with suppress(OSError):  # the terminal may be gone; the stack is not
            self.stdout.write(line)
            self.stdout.flush()

    def _prepare(self, folder: StateFolder, *, mirrors: str, wanted: Listed) -> None:
        """Bring the database up to date, see that the list fits to it and that somebody can sign in."""
        call_command("migrate", interactive=False, verbosity=0)
        with _told(mirrors):
            catalog.check_free(wanted)
        users = get_user_model()
        if not users.objects.filter(is_superuser=True).exists():
            users.objects.create_superuser(STACK_USER, password=folder.secret("admin_password"))
        connection.close()

    def _greet(self, folder: StateFolder) -> None:
        known = (folder.path / "admin_password").exists()
        password = shlex.quote(str(folder.path / "admin_password"))
        sign_in = f"user {STACK_USER}, password: cat {password}" if known else "with your own account"
        flower = shlex.quote(str(folder.path / "flower_password"))
        flower = "of FLOWER_PASSWORD" if os.environ.get("FLOWER_PASSWORD") else f"cat {flower}"
        for line in (
            "",
            f"The stack is up. Its state is in {folder.path}, its logs in {folder.path / 'logs'}.",
            f"  Admin   {settings.PUBLIC_URL}/admin/   {sign_in}",
            f"  Flower  {settings.FLOWER_URL}   user {STACK_USER}, password: {flower}",
            "Mirror a repository; type in another terminal:",
            f"  {command_line()} mirror add https://HOST/PATH.git",
            *(["  (with the same DATABASE_URL as here)"] if os.environ.get("DATABASE_URL") else []),
            "Ctrl-C stops everything.",
        ):
            self._say(line)


def _read_list(file: str) -> Listed:
    """Read a list, and refuse one that cannot be used before anything starts."""
    if not Path(file).is_file():
        raise Failed(f"There is no file {file}: name a list of repositories to mirror")
    with _told(file):
        return catalog.read_list(read_list_file(file))


@contextmanager
def _told(file: str) -> Iterator[None]:
    """Say which lines of a list cannot be used."""
    try:
        yield
    except BadList as error:
        raise Failed(complaint(file, error)) from None


def command_line() -> str:
    """Return how `manage.py` is called from the folder and the shell of the person who started us."""
    words = [sys.executable, str(settings.BASE_DIR / "manage.py")]
    if Path.cwd() == settings.BASE_DIR:
        words = [
            os.path.relpath(word) if Path(word).is_relative_to(settings.BASE_DIR) else word for word in words
        ]
    given = os.environ.get("MIRRORING_STATE")
    before = f"MIRRORING_STATE={shlex.quote(str(settings.STATE_DIR))} " if given else ""
    return before + shlex.join(words)
