"""How a credential is shown: everything but its secret."""

from datetime import datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mirroring.catalog import in_words
from mirroring.management.describe import expiry_words, plain
from mirroring.models import Credential, SchedulingSettings

MIRRORS_SHOWN = 20


def card(row: Credential, *, now: datetime, configured: SchedulingSettings) -> Table:
    """Return everything about a credential that may be seen."""
    kept = row.mirrors.filter(deleted_at=None).select_related("group").order_by("group__name", "name")
    names = [mirror.path for mirror in kept[: MIRRORS_SHOWN + 1]]
    more = [f"... ({kept.count()} in all)"] if len(names) > MIRRORS_SHOWN else []
    refusal = (
        f"{in_words(row.last_refused_at, now=now)}: {row.last_refusal}" if row.last_refused_at else "never"
    )
    http = " (also over http://)" if row.allow_http else ""
    rows: list[tuple[str, RenderableType]] = [
        ("credential", Text(row.path, style="bold")),
        ("kind", plain(str(row.get_kind_display()))),
        ("sent to", plain(", ".join(row.hosts) + http)),
        ("user name", plain(row.username)),
        (
            "app",
            plain(
                f"{row.app_id}, installation {row.installation_id}, at {row.api_url}" if row.app_id else ""
            ),
        ),
        ("public half", plain(row.public_key)),
        ("fingerprint", plain(row.fingerprint)),
        ("ends", expiry_words(row, now=now, configured=configured)),
        ("last used", plain(in_words(row.last_used_at, now=now))),
        ("last refused", plain(refusal)),
        ("changed", plain(f"{in_words(row.changed_at, now=now)} by {row.changed_by}")),
        ("mirrors", plain(", ".join([*names[:MIRRORS_SHOWN], *more]) or "none")),
    ]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        if str(value):
            table.add_row(label, value)
    return table
