"""What a batch of checks needs to know of its mirrors, their hosts and credentials; read in a few queries."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import models

from mirroring.flags.actors import Actor
from mirroring.flags.readings import is_on
from mirroring.flags.registry import FlagName
from mirroring.models import Credential, Host, Mirror
from mirroring.models.among import among
from mirroring.models.mirror import inputs, refspecs
from mirroring.models.prepared import PreparedValues
from mirroring.upstream.access.credentials import Secret
from mirroring.upstream.access.unsealing import secret_for
from mirroring.upstream.client.asks import Ask, Doubt
from mirroring.upstream.client.probe import Way, sealed
from mirroring.upstream.client.prober import PER_HOST
from mirroring.upstream.errors import GitError
from mirroring.upstream.policy import urls
from mirroring.upstream.policy.urls import BadURL, UpstreamURL
from mirroring.upstream.transfer.listing import Known

logger = logging.getLogger(__name__)

_COLUMNS = (
    "pk",
    "group__name",
    "host_id",
    "host__name",
    "url",
    "ref_selection",
    "ref_patterns",
    "config_version",
    "credential_id",
    "state__epoch",
    "state__upstream_digest",
    "state__listed_way",
    "state__last_update_at",
)


@PreparedValues
def _of_ids(
    rows: "models.QuerySet[Mirror]", *, ids: list[int], lease: datetime
) -> "models.QuerySet[Mirror, Any]":
    return rows.filter(pk__in=among(ids), state__check_due_at=lease).order_by().values_list(*_COLUMNS)


def is_checked(mirror: Mirror, *, now: datetime) -> bool:
    """Say whether a mirror is checked before it is imported, and so listed as a check lists it."""
    return is_on(FlagName.CHECK_BEFORE_IMPORT, actor=Actor.of_mirror(mirror), now=now)


@dataclass(frozen=True, slots=True)
class Row:
    """One mirror, leased for a check."""

    mirror_id: int
    group: str
    host_id: int
    host: str
    url: str
    refspecs: tuple[str, ...]
    config_version: int
    credential_id: int | None
    epoch: int
    digest: bytes | None
    way: str
    imported_at: datetime | None
    lease: datetime
    leased_at: datetime

    @property
    def actor(self) -> Actor:
        """Return the mirror as a flag's actor."""
        return Actor("mirror", str(self.mirror_id), (Actor("group", self.group), Actor("host", self.host)))

    def seal(self, answer: bytes) -> bytes:
        """Return the digest that the row would have, had its last import seen this answer."""
        return sealed(answer, inputs=inputs(self.url, self.refspecs, self.config_version))


def read_rows(ids: Sequence[int], *, now: datetime, lease: datetime) -> list[Row]:
    """Return the rows that are still leased; `now` is when they were, `lease` until when."""
    found = _of_ids(Mirror.objects.all(), ids=list(ids), lease=lease)
    return [
        Row(
            *(mirror_id, group, host_id, host, url),
            refspecs=tuple(refspecs(selection, patterns)),
            config_version=version,
            credential_id=credential_id,
            epoch=epoch,
            digest=None if digest is None else bytes(digest),
            way=way,
            imported_at=imported_at,
            lease=lease,
            leased_at=now,
        )
        for (
            mirror_id,
            group,
            host_id,
            host,
            url,
            selection,
            patterns,
            version,
            credential_id,
            epoch,
            *state,
        ) in found
        for digest, way, imported_at in [state]
    ]


@dataclass(frozen=True)
class Patience:
    """How long a question is worth anything: put until then (monotonic clock), and answered in so many seconds."""

    until: float
    seconds: float


@dataclass(frozen=True)
class Batch:
    """The questions of leased rows, with their hosts and credentials. `valid_for`: how long a secret must be good."""

    hosts: dict[int, Host]
    credentials: Mapping[int, Credential]
    now: datetime
    valid_for: timedelta
    patience: Patience
    _secrets: dict[tuple[int, str, int], Secret] = field(default_factory=dict)
    _asks: dict[Known, Ask] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        rows: Sequence[Row],
        *,
        hosts: dict[int, Host],
        now: datetime,
        valid_for: timedelta,
        patience: Patience,
    ) -> "Batch":
        """Read what the rows refer to; the hosts that are missing among those known are added to them."""
        missing = {row.host_id for row in rows} - hosts.keys()
        hosts |= Host.objects.in_bulk(missing) if missing else {}
        ids = {row.credential_id for row in rows if row.credential_id is not None}
        credentials = Credential.objects.select_related("group").in_bulk(ids) if ids else {}
        return cls(hosts, credentials, now=now, valid_for=valid_for, patience=patience)

    def refused(self, row: Row) -> str:
        """Have the row's question asked, and return an empty text; or say why it may not or cannot be asked.

        Whatever is wrong with one row ends there: the others of the batch are asked. Its import says what it is.
        """
        try:
            known = self._known(row)
            if known not in self._asks:
                until, seconds = self.patience.until, self.patience.seconds
                self._asks[known] = known.ask(until=until, patience=seconds, for_whom=[])
        except (GitError, BadURL):
            return f"doubtful: {Doubt.BLOCKED}"
        except Exception:
            logger.exception("a check cannot be asked", extra={"mirror": row.mirror_id})
            return f"doubtful: {Doubt.BLOCKED}"
        self._asks[known].for_whom.append(row)
        return ""

    def asks(self) -> Collection[Ask]:
        """Return the questions, each with the rows for which it is put."""
        return self._asks.values()

    def _known(self, row: Row) -> Known:
        url = urls.parse(row.url)
        return Known(url, self.hosts[row.host_id], row.refspecs, Way(row.way), self._secret(row, url))

    def limits(self) -> Mapping[str, int]:
        """Return how many questions at once each host gets: never more than the imports that it may have."""
        return {host.name: _limit(host) for host in self.hosts.values()}

    def _secret(self, row: Row, url: UpstreamURL) -> Secret | None:
        if row.credential_id is None:
            return None
        # A credential may be refused for one of the schemes of a host.
        key = row.credential_id, url.scheme, row.host_id
        if key not in self._secrets:
            credential = self.credentials[row.credential_id]
            # One that its maker keeps waiting would hold up all others: what is missing is had by the import.
            self._secrets[key] = secret_for(
                credential, url=url, now=self.now, valid_for=self.valid_for, mints=False
            )
        return self._secrets[key]


def _limit(host: Host) -> int:
    allowed = (host.max_slots, host.slots)
    return min([PER_HOST, *(slots for slots in allowed if slots is not None)])
