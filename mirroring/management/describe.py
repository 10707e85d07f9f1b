"""How a mirror is shown: as JSON, as a row of a table, as a card."""

from collections.abc import Sequence
from datetime import datetime
from io import StringIO
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from mirroring.catalog import KEEP_REMOVED, Freshness, freshness, in_words, proposal
from mirroring.management.outlook import NO_REASON
from mirroring.models import (
    Credential,
    Expiry,
    Mirror,
    OnDivergence,
    RefSelection,
    Relocation,
    SchedulingSettings,
)
from mirroring.rules.outcomes import Outcome
from mirroring.rules.policies import rest_of

if TYPE_CHECKING:
    from django.core.management.base import OutputWrapper

WIDE = 1000
"""Columns where no terminal shows the output: lines are for grep, and nothing is cut off."""

COLOURS = {Freshness.FRESH: "green", Freshness.NEW: "yellow", Freshness.STALE: "bold red"}

EXPIRY_COLOURS = {Expiry.NONE: "", Expiry.FAR: "", Expiry.SOON: "yellow", Expiry.PAST: "bold red"}


def as_json_whole(mirror: Mirror) -> dict[str, object]:
    """Return a mirror as scripts see it, with what takes a question to the database."""
    moved = proposal(mirror)
    return as_json(mirror) | {"proposed_url": moved.to_url if moved else None}


def as_json(mirror: Mirror) -> dict[str, object]:
    """Return a mirror as scripts see it."""
    state = mirror.state
    return {
        "id": mirror.pk,
        "name": mirror.path,
        "url": mirror.url,
        "credential": mirror.credential.path if mirror.credential else None,
        "status": state.status,
        "epoch": state.epoch,
        "paused": mirror.paused_at is not None,
        "pause_reason": mirror.pause_reason,
        "removed_at": mirror.deleted_at,
        "hard_failed": state.hard_failed,
        "retry_count": state.retry_count,
        "last_outcome": state.last_outcome,
        "last_error": state.last_error,
        "last_successful_update_at": state.last_successful_update_at,
        "last_update_at": state.last_update_at,
        "last_checked_at": state.last_checked_at,
        "check_due_at": state.check_due_at,
        "next_execution_at": state.next_execution_at,
        "refs": mirror.ref_patterns or mirror.ref_selection,
        "on_divergence": mirror.on_divergence,
        "clone_url": mirror.clone_url,
        "repository": str(mirror.repository),
    }


def status_words(mirror: Mirror) -> str:
    """Return the status, with what stands above it."""
    state = mirror.state
    if mirror.deleted_at is not None:
        return "removed"
    if mirror.paused_at is not None:
        return "paused"
    return str(rest_of(state.last_outcome)) if state.hard_failed else str(state.status)


def next_words(mirror: Mirror, *, now: datetime) -> str:
    """Return when the mirror is imported next, by itself."""
    state = mirror.state
    if not state.active or state.hard_failed:
        return "never by itself"
    if state.claim_expires_at is not None:
        return "now"
    return in_words(max(state.next_execution_at, now), now=now)


def next_heading(mirror: Mirror) -> str:
    """Return what comes next: a check, where an import follows only if it finds something new."""
    return "next import" if mirror.state.check_due_at is None else "next check"


def success_words(mirror: Mirror, *, now: datetime, configured: SchedulingSettings) -> Text:
    """Return the age of the last success; one of a stale mirror says so, also without colours."""
    verdict = freshness(mirror, now=now, cadence=configured.cadence)
    stale = " (stale)" if verdict is Freshness.STALE else ""
    return Text(f"{in_words(mirror.state.last_successful_update_at, now=now)}{stale}", style=COLOURS[verdict])


def failure_words(mirror: Mirror) -> str:
    """Return how often and why the mirror has failed since its last success; empty if it has not."""
    state = mirror.state
    if not state.last_error:
        return ""
    count = f"{state.retry_count} in a row, " if state.retry_count > 1 else ""
    return f"{count}{state.last_outcome}: {state.last_error}"


def mirror_table(mirrors: Sequence[Mirror], *, now: datetime, configured: SchedulingSettings) -> Table:
    """Return a table of mirrors, a row each."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("mirror", "status", "last success", "next import"):
        table.add_column(heading, no_wrap=True)
    with_credentials = any(mirror.credential for mirror in mirrors)
    if with_credentials:
        table.add_column("credential", no_wrap=True)
    table.add_column("failure, reason", overflow="fold")
    for mirror in mirrors:
        table.add_row(
            plain(mirror.path),
            plain(status_words(mirror)),
            success_words(mirror, now=now, configured=configured),
            plain(next_words(mirror, now=now)),
            *([_credential_cell(mirror, now=now, configured=configured)] if with_credentials else []),
            plain(_trouble_words(mirror)),
        )
    return table


def _trouble_words(mirror: Mirror) -> str:
    """Return why a mirror is paused, and how it failed before."""
    paused = mirror.paused_at is not None and mirror.deleted_at is None
    reason = (mirror.pause_reason or NO_REASON) if paused else ""
    return "; ".join(filter(None, (reason, failure_words(mirror))))


def mirror_card(mirror: Mirror, *, now: datetime, configured: SchedulingSettings) -> Table:
    """Return everything about one mirror."""
    rows: list[tuple[str, RenderableType]] = [
        ("mirror", Text(mirror.path, style="bold")),
        ("upstream", plain(mirror.url)),
        ("credential", _credential_words(mirror, now=now, configured=configured)),
        ("clone", plain(f"git clone {mirror.clone_url}")),
        ("status", plain(_long_status(mirror, now=now))),
        ("last success", success_words(mirror, now=now, configured=configured)),
        ("last check", plain(in_words(mirror.state.last_checked_at, now=now))),
        (next_heading(mirror), plain(next_words(mirror, now=now))),
        ("failure", plain(failure_words(mirror) or "none")),
        ("refs", plain(" ".join(mirror.ref_patterns) or str(RefSelection(mirror.ref_selection).label))),
        ("if rewritten", plain(str(OnDivergence(mirror.on_divergence).label))),
        ("repository", plain(str(mirror.repository))),
    ]
    if moved := proposal(mirror):
        rows.insert(2, ("upstream moved", plain(move_words(moved))))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _credential_words(mirror: Mirror, *, now: datetime, configured: SchedulingSettings) -> Text:
    """Return what is shown to the upstream, with a warning before that ends."""
    row = mirror.credential
    if row is None:
        return Text("none")
    return Text.assemble(plain(f"{row.path}, "), expiry_words(row, now=now, configured=configured))


def _credential_cell(mirror: Mirror, *, now: datetime, configured: SchedulingSettings) -> Text:
    """Return the name of the credential, with a word on its end where that is soon or past."""
    row = mirror.credential
    if row is None:
        return Text("")
    expiry = row.expiry(now=now, warning=configured.credential_warning)
    word = {Expiry.PAST: " (ended)", Expiry.SOON: " (ends soon)"}.get(expiry, "")
    return Text(plain(row.path).plain + word, style=EXPIRY_COLOURS[expiry])


def expiry_words(row: Credential, *, now: datetime, configured: SchedulingSettings) -> Text:
    """Return when it ends, with a warning in words where that is soon or past."""
    expiry = row.expiry(now=now, warning=configured.credential_warning)
    if row.expires_at is None:
        return Text("does not end, as far as is known")
    words = {Expiry.PAST: "ended", Expiry.SOON: "ENDS SOON,"}.get(expiry, "ends")
    text = f"{words} {in_words(row.expires_at, now=now)} ({row.expires_at:%Y-%m-%d %H:%M} UTC)"
    return Text(text, style=EXPIRY_COLOURS[expiry])


def move_words(moved: Relocation) -> str:
    """Return where an upstream redirects for good, and how to decide about it."""
    since = f"{moved.first_seen_at:%Y-%m-%d}"
    act = f"manage.py mirror move {moved.mirror.path}"
    return f"to {moved.to_url} ({moved.seen} times since {since}): {act} --accept, or --decline"


def _long_status(mirror: Mirror, *, now: datetime) -> str:
    words = status_words(mirror)
    if mirror.deleted_at is not None:
        until = in_words(mirror.deleted_at + KEEP_REMOVED, now=now)
        return f"{words} {in_words(mirror.deleted_at, now=now)}; purged {until}"
    if mirror.paused_at is not None:
        return f"{words} {in_words(mirror.paused_at, now=now)}: {mirror.pause_reason or NO_REASON}"
    return words


def explained(mirror: Mirror, sentence: str) -> list[str]:
    """Return the lines of an explanation, of which `sentence` is what happens next."""
    lines = [f"{mirror.path}: {status_words(mirror)}. {sentence}."]
    state = mirror.state
    if state.last_error:
        lines.append(f"Its last import ended as {state.last_outcome}: {state.last_error}")
    if state.last_outcome == Outcome.BLOCKED and state.active and not state.hard_failed:
        lines.append(f"`manage.py mirror sync {mirror.path}` tries again at once.")
    return [plain(line).plain for line in lines]


def plain(text: str) -> Text:
    """Return text that no terminal takes for commands: errors hold what some upstream server said."""
    return Text("".join(char if char.isprintable() else " " for char in text))


def rendered(part: RenderableType, *, out: "OutputWrapper") -> str:
    """Return something of rich as text for this output, in colour if that is a terminal."""
    # Not on `out` itself: that adds a line for everything it is given, also for rich's empty writes.
    terminal = out.isatty()
    console = Console(file=StringIO(), force_terminal=terminal, width=None if terminal else WIDE)
    with console.capture() as captured:
        console.print(part)
    return "\n".join(line.rstrip() for line in captured.get().split("\n")).strip("\n")
