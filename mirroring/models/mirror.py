"""The configuration of a mirror. What happens to it is in ImportState."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from mirroring.models.credential import Credential
from mirroring.models.group import PATH_SEGMENT, Group
from mirroring.models.host import Host
from mirroring.models.prepared import PreparedSelect


class RefSelection(models.TextChoices):
    """Which refs of the upstream a mirror keeps."""

    DEFAULT = "default", "branches and tags"
    ALL = "all", "all refs, also those of pull requests"
    PATTERNS = "patterns", "refs that match the given patterns"


class OnDivergence(models.TextChoices):
    """What becomes of a mirror whose upstream rewrote branches."""

    OVERWRITE = "overwrite", "follow the upstream"
    KEEP = "keep", "keep what is mirrored, and wait for a person"


class MirrorQuerySet(models.QuerySet["Mirror"]):
    """Questions about mirrors."""

    def kept(self) -> "MirrorQuerySet":
        """Return the mirrors that are not removed."""
        return self.filter(deleted_at=None)

    def named(self, path: str) -> "MirrorQuerySet":
        """Return the kept mirror called `group/name`, if there is one."""
        group, _, name = path.rpartition("/")
        return self.kept().filter(group__name=group, name=name)

    def whole(self, pk: int) -> "Mirror":
        """Return a mirror with all that its import needs to know."""
        [found] = _whole(self, pk=pk)
        return found


@PreparedSelect
def _whole(rows: MirrorQuerySet, *, pk: int) -> MirrorQuerySet:
    return rows.filter(pk=pk).select_related("group", "host", "credential__group", "state").order_by()


class Mirror(models.Model):
    """A copy of one upstream repository."""

    group = models.ForeignKey(Group, on_delete=models.PROTECT, related_name="mirrors")
    name = models.CharField(max_length=200, validators=[PATH_SEGMENT])
    url = models.CharField(
        "URL", max_length=2000, help_text="Where the upstream is; a password does not belong here."
    )
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="mirrors", editable=False)
    credential = models.ForeignKey(
        Credential, on_delete=models.PROTECT, null=True, blank=True, related_name="mirrors"
    )
    ref_selection = models.CharField(
        "refs", max_length=10, choices=RefSelection.choices, default=RefSelection.DEFAULT
    )
    ref_patterns = models.JSONField(
        default=list, blank=True, help_text='For example ["refs/heads/release/*"].'
    )
    on_divergence = models.CharField(
        "if branches are rewritten",
        max_length=10,
        choices=OnDivergence.choices,
        default=OnDivergence.OVERWRITE,
    )
    config_version = models.PositiveIntegerField(default=1, editable=False)
    storage_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    paused_at = models.DateTimeField(null=True, blank=True, editable=False)
    pause_reason = models.CharField(max_length=500, blank=True, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager["Mirror"]] = MirrorQuerySet.as_manager()

    class Meta:
        ordering = ["group__name", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["group", "name"], condition=Q(deleted_at=None), name="mirror_path_unique"
            )
        ]

    def __str__(self) -> str:
        return self.path

    @property
    def path(self) -> str:
        """Return the name that people use: `group/name`."""
        return f"{self.group.name}/{self.name}"

    @property
    def clone_url(self) -> str:
        """Return where this server serves the mirror."""
        return f"{settings.PUBLIC_URL}/git/{self.path}.git"

    @property
    def repository(self) -> Path:
        """Return the folder on disk: by an opaque id, never by a name that somebody typed."""
        hexed = self.storage_id.hex
        return Path(settings.REPOSITORIES_DIR) / hexed[:2] / hexed[2:4] / f"{hexed}.git"

    @property
    def refspecs(self) -> list[str]:
        """Return the fetch refspecs of the selection."""
        return refspecs(self.ref_selection, self.ref_patterns)

    @property
    def inputs(self) -> tuple[object, ...]:
        """Return all that decides what is fetched; every edit of such a field raises `config_version`."""
        return inputs(self.url, self.refspecs, self.config_version)


def refspecs(selection: str, patterns: Sequence[str]) -> list[str]:
    """Return the fetch refspecs of a selection."""
    match selection:
        case RefSelection.ALL:
            return ["+refs/*:refs/*"]
        case RefSelection.PATTERNS:
            return [f"+{pattern}:{pattern}" for pattern in patterns]
        case _:
            return ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]


def inputs(url: str, wanted: Sequence[str], config_version: int) -> tuple[object, ...]:
    """Return what `Mirror.inputs` is made of."""
    return (url, *wanted, config_version)
