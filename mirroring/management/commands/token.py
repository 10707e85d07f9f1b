"""`manage.py token`: tokens of the HTTP API."""

from datetime import UTC, datetime

from django.core.management.base import CommandParser
from django.db import IntegrityError

from mirroring.management.arguments import lasting
from mirroring.management.base import ActCommand, Options
from mirroring.management.failures import Failed
from mirroring.management.person import who
from mirroring.models.api_token import ApiToken, Scope


class Command(ActCommand):
    """The acts on tokens."""

    help = "Issue and revoke tokens of the HTTP API. Only digests are kept: a token is shown once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the acts."""
        act = self.acts(parser)
        issue = act("issue", self.issue, "Make a token and print it, this once.")
        issue.add_argument("name", metavar="NAME", help="who or what will hold it")
        issue.add_argument(
            "--scope",
            action="append",
            required=True,
            choices=Scope.values,
            help="what it opens; may be repeated",
        )
        issue.add_argument(
            "--expires-in", type=lasting, metavar="90d", help="without it, the token does not end"
        )
        act("list", self.show_list, "List the tokens, without their texts.")
        revoke = act("revoke", self.revoke, "End a token at once.")
        revoke.add_argument("name", metavar="NAME")

    def issue(self, options: Options) -> None:
        """Make a token."""
        now = datetime.now(tz=UTC)
        ends = None if options["expires_in"] is None else now + options["expires_in"]
        try:
            row, token = ApiToken.issue(
                options["name"], scopes=options["scope"], by=who(), now=now, expires_at=ends
            )
        except IntegrityError:
            raise Failed(
                f"There is a token named {options['name']}: revoke it first, or choose another name"
            ) from None
        self.show({**_as_json(row), "token": token}, token, options)

    def show_list(self, options: Options) -> None:
        """List the tokens."""
        found = list(ApiToken.objects.all())
        text = "\n".join(f"{row.name}  {' '.join(row.scopes)}  {_state(row)}" for row in found)
        self.show([_as_json(row) for row in found], text or "There are no tokens.", options)

    def revoke(self, options: Options) -> None:
        """End a token."""
        live = ApiToken.objects.filter(name=options["name"], revoked_at=None)
        if not live.update(revoked_at=datetime.now(tz=UTC)):
            raise Failed(f"There is no live token named {options['name']}: see `manage.py token list`")
        self.show({"revoked": options["name"]}, f"{options['name']} opens nothing any more.", options)


def _as_json(row: ApiToken) -> dict[str, object]:
    kept = ("name", "scopes", "created_at", "created_by", "expires_at", "revoked_at", "last_used_at")
    return {**{name: getattr(row, name) for name in kept}, "state": _state(row)}


def _state(row: ApiToken) -> str:
    ended = row.expires_at is not None and row.expires_at <= datetime.now(tz=UTC)
    return "revoked" if row.revoked_at else "expired" if ended else "live"
