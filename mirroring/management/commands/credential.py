"""`manage.py credential`: what upstreams ask for. A secret is read from a prompt, standard input or a file."""

import getpass
import sys
from datetime import datetime
from pathlib import Path

from django.core.management.base import CommandParser
from rich import box
from rich.table import Table

from mirroring import catalog
from mirroring.catalog.credential_facts import facts_of, state_words
from mirroring.catalog.credential_values import MAX_SECRET
from mirroring.management.arguments import for_secret, when
from mirroring.management.base import ActCommand, Options
from mirroring.management.describe import expiry_words, plain, rendered
from mirroring.management.describe_credential import card
from mirroring.management.failures import Failed
from mirroring.management.person import who
from mirroring.models import Credential, CredentialKind, SchedulingSettings
from mirroring.rules import sealing
from mirroring.rules.words import counted
from mirroring.tasks import wake_scheduler
from mirroring.tracker.connection import present


class Command(ActCommand):
    """The acts on credentials."""

    help = "Add, show, replace and remove credentials. A secret goes in and is never shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the acts."""
        act = self.acts(parser)
        add = act("add", self.add, "Keep a credential: a password or token, an SSH key, or a GitHub App.")
        add.add_argument(
            "kind", metavar="KIND", choices=CredentialKind.values, help=", ".join(CredentialKind.values)
        )
        add.add_argument("name", metavar="NAME", help="NAME for all groups, or GROUP/NAME for mirrors of one")
        for_secret(add, host_required=True)
        act("list", self.show_list, "List credentials, without their secrets.")
        replace = act(
            "replace", self.replace, "Give a credential a new secret; its mirrors are imported at once."
        )
        for_secret(replace, host_required=False)
        edit = act("edit", self.edit, "Change when a credential ends.")
        edit.add_argument("--expires", type=when, required=True, metavar="DATE", help="2027-01-31, or never")
        show = act("show", self.show_one, "Show a credential, without its secret.")
        remove = act("remove", self.remove, "Remove a credential that no mirror uses.")
        for one in (replace, edit, show, remove):
            one.add_argument("name", metavar="NAME", help="NAME or GROUP/NAME")
        act("rotate-keys", self.rotate_keys, "Seal all credentials by a new key.")
        act("new-key", self.new_key, "Print a new key for CREDENTIAL_KEYS.")

    def add(self, options: Options) -> None:
        """Keep a credential."""
        kind = CredentialKind(options["kind"])
        group, _, name = options["name"].rpartition("/")
        row = catalog.add_credential(
            name,
            kind=kind,
            given=_given(options, kind),
            group=catalog.find_group(group) if group else None,
            by=who(),
            now=present(),
        )
        lines = [f"Keeps {row.path} for {', '.join(row.hosts)}, sealed. It is not shown again."]
        lines += _public_half(row)
        lines.append(f"Use it: manage.py mirror add URL --credential {row.path}")
        self.show(facts_of(row, now=present()), "\n".join(lines), options)

    def replace(self, options: Options) -> None:
        """Give a credential a new secret."""
        kept = catalog.find_credential(options["name"])
        given = _given(options, CredentialKind(kept.kind))
        done = catalog.replace_credential(kept, given=given, by=who(), now=present(), wake=wake_scheduler)
        lines = [f"Replaced {kept.path}; imported because of it: {counted(done.released, 'mirror')}."]
        lines += _public_half(done.credential)
        self.show(facts_of(done.credential, now=present()), "\n".join(lines), options)

    def edit(self, options: Options) -> None:
        """Change when a credential ends."""
        kept = catalog.find_credential(options["name"])
        row = catalog.set_expiry(kept, expires_at=_moment(options["expires"]), by=who(), now=present())
        ends = expiry_words(row, now=present(), configured=SchedulingSettings.current())
        self.show(facts_of(row, now=present()), f"{row.path}: {ends.plain}.", options)

    def show_list(self, options: Options) -> None:
        """List credentials."""
        now, configured = present(), SchedulingSettings.current()
        rows = list(Credential.objects.select_related("group").order_by("group__name", "name"))
        table = Table("credential", "kind", "hosts", "ends", "state", box=box.SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            ends = expiry_words(row, now=now, configured=configured)
            cells = (row.path, row.kind, ", ".join(row.hosts))
            table.add_row(*map(plain, cells), ends, plain(state_words(row, now=now)))
        empty = "No credentials. Add one: manage.py credential add password NAME --host HOST"
        text = rendered(table, out=self.stdout) if rows else empty
        self.show([facts_of(row, now=now) for row in rows], text, options)

    def show_one(self, options: Options) -> None:
        """Show a credential."""
        row, now = catalog.find_credential(options["name"]), present()
        shown = card(row, now=now, configured=SchedulingSettings.current())
        self.show(facts_of(row, now=now), rendered(shown, out=self.stdout), options)

    def remove(self, options: Options) -> None:
        """Remove a credential that no mirror uses."""
        row = catalog.find_credential(options["name"])
        shown = facts_of(row, now=present())
        catalog.remove_credential(row, by=who())
        self.show(shown, f"Removed the credential {row.path}.", options)

    def rotate_keys(self, options: Options) -> None:
        """Seal all credentials by a new key."""
        done = catalog.rotate_keys()
        lines = [f"{done.resealed} credentials are sealed by the key {done.sealed_by} now."]
        if done.unneeded:
            lines.append(f"Needed by no credential any more: {', '.join(done.unneeded)}.")
        for path in done.unopened:
            self.note(f"{path} cannot be opened by any key: restore its key and rotate again, or replace it")
        self.show(vars(done), "\n".join(lines), options)
        if done.unopened:
            sys.exit(1)

    def new_key(self, options: Options) -> None:
        """Print a new key."""
        key = sealing.new_key()
        self.show({"key": key, "name": sealing.key_id(sealing.read_key(key))}, key, options)


def _given(options: Options, kind: CredentialKind) -> catalog.Given:
    return catalog.Given(
        secret="" if options["generate"] else _secret(options["secret_file"], kind),
        hosts=tuple(options["host"]),
        username=options["user"],
        app_id=options["app"],
        installation_id=options["installation"],
        api_url=options["api"],
        allow_http=options["allow_http"],
        expires_at=_moment(options["expires"]),
    )


def _secret(file: str | None, kind: CredentialKind) -> str:
    """Read a secret from where no other process sees it; never from an argument."""
    try:
        if file is not None and file != "-":
            with Path(file).open() as opened:
                return opened.read(MAX_SECRET + 1)
        if file == "-" or not sys.stdin.isatty():
            return sys.stdin.read(MAX_SECRET + 1)
    except OSError as error:
        raise Failed(f"{file} cannot be read ({error.strerror}): give the path of a file, or '-'") from None
    except UnicodeDecodeError:
        raise Failed("The secret is no UTF-8 text: give a password, a token or a private key file") from None
    if kind is not CredentialKind.PASSWORD:
        raise Failed("A key has many lines: give it by --secret-file FILE")
    return getpass.getpass("Password or token: ")


def _moment(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


def _public_half(row: Credential) -> list[str]:
    if not row.public_key:
        return []
    return ["Its public half, for the upstream's deploy keys:", row.public_key]
