"""What the list and the page of a mirror show of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Value
from django.db.models.functions import Concat
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from mirroring.catalog import in_words
from mirroring.models import Expiry, Mirror, SchedulingSettings
from mirroring.rules.cadence import Cadence
from mirroring.tracker.connection import present
from mirroring.web.admin import cells
from mirroring.web.freshness import next_attempt

FULL_PATH = Concat("group__name", Value("/"), "name")
"""`Mirror.path`, for queries."""

CREDENTIAL_WARNINGS = {Expiry.SOON: "ends soon", Expiry.PAST: "ended"}

DOT = SafeString("<wbr>.")
"""A long name may be broken before a dot."""


@dataclass(frozen=True)
class Glance:
    """When a page was made, and the cadence by which it judges ages."""

    now: datetime
    cadence: Cadence
    credential_warning: timedelta

    @classmethod
    def take(cls) -> "Glance":
        """Read the clock and the settings, once for a page."""
        current = SchedulingSettings.current()
        return cls(now=present(), cadence=current.cadence, credential_warning=current.credential_warning)


def show(mirror: Mirror, glance: Glance) -> Mirror:
    """Note on a mirror what its cells need to know of the page."""
    mirror.__dict__["glance"] = glance
    return mirror


def _glance(mirror: Mirror) -> Glance:
    glance = mirror.__dict__.get("glance")
    return glance if isinstance(glance, Glance) else Glance.take()


class MirrorChangeList(ChangeList):
    """A page of the list: all its ages are measured from one instant."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the rows of the page."""
        super().get_results(request)
        glance = Glance.take()
        for mirror in self.result_list:
            show(mirror, glance)


class MirrorCells:
    """The columns. Each reads what was fetched with the row."""

    @admin.display(description="mirror", ordering=FULL_PATH)
    def path(self, mirror: Mirror) -> SafeString:
        """Return the name."""
        return format_html("{}/<b>{}</b>", mirror.group.name, mirror.name)

    @admin.display(description="host", ordering="host__name")
    def upstream(self, mirror: Mirror) -> SafeString:
        """Return the host, which leads to the upstream itself."""
        parts = format_html_join(DOT, "{}", ((part,) for part in mirror.host.name.split(".")))
        if not mirror.url.startswith("http"):
            return parts
        return format_html('<a href="{}" rel="noreferrer nofollow">{}</a>', mirror.url, parts)

    @admin.display(description="status", ordering="state__status")
    def status(self, mirror: Mirror) -> SafeString:
        """Return where it stands."""
        return cells.status(mirror)

    @admin.display(description="last success", ordering="state__last_successful_update_at")
    def checked(self, mirror: Mirror) -> SafeString:
        """Return the age of the last successful check."""
        glance = _glance(mirror)
        return cells.age(mirror, now=glance.now, cadence=glance.cadence)

    @admin.display(description="next run", ordering="state__next_execution_at")
    def next_run(self, mirror: Mirror) -> str:
        """Return when it is tried next, or why not."""
        return next_attempt(mirror.state, now=_glance(mirror).now)

    @admin.display(description="last outcome", ordering="state__retry_count")
    def last_outcome(self, mirror: Mirror) -> SafeString:
        """Return how the last import ended, why, and how often in a row it failed."""
        state = mirror.state
        return cells.outcome(state.last_outcome, state.last_error, failures=state.retry_count)

    @admin.display(description="credential", ordering="credential__name")
    def shown(self, mirror: Mirror) -> SafeString | str:
        """Return the credential that its upstream is shown."""
        return _credential(mirror, _glance(mirror))


def _credential(mirror: Mirror, glance: Glance) -> SafeString | str:
    """Return what is shown to the upstream, with a warning before it ends."""
    row = mirror.credential
    if row is None:
        return ""
    expiry = row.expiry(now=glance.now, warning=glance.credential_warning)
    warning = cells.badge(CREDENTIAL_WARNINGS[expiry], "bad") if expiry in CREDENTIAL_WARNINGS else ""
    return format_html("{} {}", row.path, warning)


def facts(mirror: Mirror) -> list[tuple[str, SafeString | str]]:
    """Return what the page of a mirror says above its form."""
    state, glance = mirror.state, _glance(mirror)
    private = "" if mirror.group.public else cells.badge("token needed", "warn")
    return [
        ("Status", cells.status(mirror)),
        ("Last success", cells.age(mirror, now=glance.now, cadence=glance.cadence)),
        ("Last check", in_words(state.last_checked_at, now=glance.now)),
        (
            "Last outcome",
            cells.outcome(state.last_outcome, state.last_error, failures=state.retry_count, whole=True),
        ),
        ("Next run", next_attempt(state, now=glance.now)),
        ("Failures in a row", str(state.retry_count)),
        ("Workers lost in a row", str(state.lost_count)),
        ("Host", mirror.host.name),
        ("Credential", _credential(mirror, glance) or "none"),
        ("Clone URL", format_html("<code>{}</code> {}", mirror.clone_url, private)),
        ("Repository", format_html("<code>{}</code>", mirror.repository)),
    ]
