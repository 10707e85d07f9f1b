"""`manage.py group`: groups own mirrors, and their tokens open private ones."""

from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Count, Q
from rich import box
from rich.table import Table

from mirroring import catalog
from mirroring.management.base import Act, ActCommand, Options
from mirroring.management.describe import plain, rendered
from mirroring.models import Group, GroupToken
from mirroring.tracker.connection import present


class Command(ActCommand):
    """The acts on groups."""

    help = "Add, change and remove groups, and the tokens that open private ones."

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the acts."""
        act = self.acts(parser)
        add = act("add", self.add, "Make a group.")
        add.add_argument("group", metavar="GROUP")
        _fields(add)
        act("list", self.show_list, "List groups.")
        edit = act("edit", self.edit, "Change a group.")
        edit.add_argument("group", metavar="GROUP")
        edit.add_argument("--name", metavar="N", help="changes the clone URLs of all its mirrors")
        _fields(edit)
        act("remove", self.remove, "Remove a group that owns no mirrors.").add_argument(
            "group", metavar="GROUP"
        )
        self._token_acts(act("token", None, "Issue, list and revoke the tokens of a group."))

    def _token_acts(self, parser: CommandParser) -> None:
        act = self.acts(parser)
        acts: tuple[tuple[str, Act, str], ...] = (
            ("add", self.add_token, "Issue a token; it is shown this once."),
            ("list", self.list_tokens, "List the tokens of a group."),
            ("revoke", self.revoke_token, "Let a token open nothing any more."),
        )
        for name, run, text in acts:
            one = act(name, run, text)
            one.add_argument("group", metavar="GROUP")
            if name != "list":
                one.add_argument("token", metavar="NAME", help="who or what holds it")

    def add(self, options: Options) -> None:
        """Make a group."""
        public = options["public"] is not False
        group = catalog.add_group(
            options["group"], owner=options["owner"] or "", contact=options["contact"] or "", public=public
        )
        text = f"Added the group {group.name}."
        if not public:
            text += f" Only holders of a token clone from it: manage.py group token add {group.name} NAME"
        self.show(_as_json(group), text, options)

    def show_list(self, options: Options) -> None:
        """List groups."""
        kept = Count("mirrors", filter=Q(mirrors__deleted_at=None))
        groups = list(Group.objects.annotate(mirror_count=kept).order_by("name"))
        table = _table("group", "mirrors", "clone", "owner", "contact")
        for group in groups:
            count = group.mirror_count
            access = "public" if group.public else "by token"
            table.add_row(*map(plain, (group.name, str(count), access, group.owner, group.contact)))
        text = (
            rendered(table, out=self.stdout) if groups else "No groups. `manage.py mirror add URL` makes one."
        )
        self.show([_as_json(group) | {"mirrors": group.mirror_count} for group in groups], text, options)

    def edit(self, options: Options) -> None:
        """Change a group."""
        fields = {field: options[field] for field in ("name", "owner", "contact", "public")}
        group = catalog.edit_group(catalog.find_group(options["group"]), **fields)
        self.show(_as_json(group), f"Changed the group {group.name}.", options)

    def remove(self, options: Options) -> None:
        """Remove a group that owns no mirrors."""
        group = catalog.find_group(options["group"])
        shown = _as_json(group)
        catalog.remove_group(group)
        self.show(shown, f"Removed the group {group.name}.", options)

    def add_token(self, options: Options) -> None:
        """Issue a token."""
        group = catalog.find_group(options["group"])
        token, text = catalog.add_token(group, name=options["token"])
        lines = [
            text,
            "Keep it now, it is not shown again. It is the password of a clone, with any user name, and opens every",
            f"mirror of the group {group.name}. Revoke it: manage.py group token revoke {group.name} {token.name}",
        ]
        self.show(_token_as_json(token) | {"token": text}, "\n".join(lines), options)

    def list_tokens(self, options: Options) -> None:
        """List the tokens of a group."""
        group, now = catalog.find_group(options["group"]), present()
        tokens = list(group.tokens.order_by("name", "pk"))
        table = _table("token", "issued", "revoked")
        for token in tokens:
            revoked = catalog.in_words(token.revoked_at, now=now) if token.revoked_at else "no"
            table.add_row(*map(plain, (token.name, catalog.in_words(token.created_at, now=now), revoked)))
        empty = f"The group {group.name} has no tokens."
        text = rendered(table, out=self.stdout) if tokens else empty
        self.show([_token_as_json(token) for token in tokens], text, options)

    def revoke_token(self, options: Options) -> None:
        """Let a token open nothing any more."""
        group, name = catalog.find_group(options["group"]), options["token"]
        catalog.revoke_token(group, name=name, now=present())
        self.show(
            {"group": group.name, "name": name},
            f"Revoked the token {name} of the group {group.name}.",
            options,
        )


def _fields(parser: CommandParser) -> None:
    parser.add_argument("--owner", metavar="O", help="the team or person that answers for the mirrors")
    parser.add_argument("--contact", metavar="C", help="where the owner is reached")
    access = parser.add_mutually_exclusive_group()
    access.add_argument("--public", action="store_true", default=None, help="everyone may clone (default)")
    access.add_argument("--private", dest="public", action="store_false", default=None, help="tokens only")


def _table(*headings: str) -> Table:
    return Table(*headings, box=box.SIMPLE_HEAD, pad_edge=False)


def _as_json(group: Group) -> dict[str, Any]:
    return {"name": group.name, "owner": group.owner, "contact": group.contact, "public": group.public}


def _token_as_json(token: GroupToken) -> dict[str, Any]:
    return {
        "group": token.group.name,
        "name": token.name,
        "created_at": token.created_at,
        "revoked_at": token.revoked_at,
    }
