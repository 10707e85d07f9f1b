"""What somebody wants mirrored, checked before anything is written."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from django.core.exceptions import ValidationError

from mirroring.catalog.errors import Invalid, NotNow
from mirroring.models import Credential, OnDivergence, RefSelection
from mirroring.models.group import PATH_SEGMENT
from mirroring.upstream.access import contact
from mirroring.upstream.errors import Blocked
from mirroring.upstream.policy import urls

DEFAULT_GROUP = "default"
MAX_PATTERNS = 100
MAX_URL = 2000

# git's rules for ref names (git-check-ref-format), with the one '*' that a refspec may hold.
_NOT_A_REF = re.compile(r"[\x00-\x20\x7f~^:?\[\\]|\.\.|@\{|//|/\.|\.lock(/|\Z)|[/.]\Z|\*.*\*")


@dataclass(frozen=True)
class Refs:
    """Which refs a mirror keeps."""

    selection: RefSelection = RefSelection.DEFAULT
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """One mirror to be, with everything checked that can be checked without the database."""

    upstream: urls.UpstreamURL
    group: str
    name: str
    refs: Refs = Refs()
    credential: Credential | None = None
    on_divergence: OnDivergence = OnDivergence.OVERWRITE

    @property
    def path(self) -> str:
        """Return the name that people will use: `group/name`."""
        return f"{self.group}/{self.name}"


def want(
    url: str,
    *,
    group: str = "",
    name: str = "",
    refs: Refs = Refs(),
    credential: Credential | None = None,
    on_divergence: str = OnDivergence.OVERWRITE,
) -> Wanted:
    """Check what is wanted; the name, where none is given, comes from the URL. Raise Invalid or NotNow."""
    upstream = check_url(url)
    check_fits(credential, upstream=upstream, group=group or DEFAULT_GROUP)
    return Wanted(
        upstream=upstream,
        group=check_name(group or DEFAULT_GROUP, what="group"),
        name=check_name(name or upstream.suggested_name, what="mirror"),
        refs=refs,
        credential=credential,
        on_divergence=OnDivergence(on_divergence),
    )


def check_url(url: str) -> urls.UpstreamURL:
    """Return the URL in its normal form, or raise Invalid. What needs DNS is asked at each contact, not here."""
    try:
        upstream = contact.acceptable(url)
    except Blocked as error:
        raise Invalid(error.detail) from None
    if len(upstream.url) > MAX_URL:
        raise Invalid(f"The URL is longer than {MAX_URL} characters: use a shorter one")
    return upstream


def read_url(url: str) -> urls.UpstreamURL:
    """Return the URL in its normal form, or raise Invalid. Whether it may be contacted is `check_url`'s to judge."""
    try:
        return contact.accepted(url)
    except Blocked as error:
        raise Invalid(error.detail) from None


def check_fits(credential: Credential | None, *, upstream: urls.UpstreamURL, group: str) -> None:
    """Raise NotNow if a mirror of this group, with such an upstream, cannot use the credential."""
    if credential is None:
        return
    if credential.group and credential.group.name != group:
        raise NotNow(
            f"The credential {credential.path} belongs to the group {credential.group.name}: "
            f"a mirror of {group} cannot use it"
        )
    if why := credential.misfit(scheme=upstream.scheme, host=upstream.host):
        raise NotNow(f"The credential {why}")


def check_name(name: str, *, what: str) -> str:
    """Return the name of a mirror or group, or raise Invalid."""
    try:
        PATH_SEGMENT(name)
    except ValidationError as error:
        raise Invalid(f"{name[:210]!r} cannot be the name of a {what}. {error.message}") from None
    return name


def check_refs(selection: str | None = None, patterns: Iterable[str] = ()) -> Refs:
    """Return the refs to keep, or raise Invalid. Patterns need no selection; another one contradicts them."""
    kept = tuple(dict.fromkeys(patterns))
    if selection is None:
        selection = RefSelection.PATTERNS if kept else RefSelection.DEFAULT
    if selection not in RefSelection.values:
        raise Invalid(f"{selection!r} selects no refs: use {', '.join(RefSelection.values)}")
    if selection == RefSelection.PATTERNS and not kept:
        raise Invalid("The selection 'patterns' needs a pattern, for example refs/heads/release/*")
    if selection != RefSelection.PATTERNS and kept:
        raise Invalid(f"Patterns do not go with the selection {selection!r}: leave one of them out")
    if len(kept) > MAX_PATTERNS:
        raise Invalid(f"There are {len(kept)} patterns; at most {MAX_PATTERNS} are accepted: use wider ones")
    for pattern in kept:
        _check_pattern(pattern)
    return Refs(RefSelection(selection), kept)


def _check_pattern(pattern: str) -> None:
    if not pattern.startswith("refs/"):
        example = pattern if pattern.isprintable() and not _NOT_A_REF.search(pattern) and pattern else "main"
        raise Invalid(f"The pattern {pattern!r} does not start with refs/: write, say, refs/heads/{example}")
    if len(pattern) > 255 or pattern == "refs/" or _NOT_A_REF.search(pattern) or not pattern.isprintable():
        raise Invalid(
            f"The pattern {pattern[:260]!r} is no ref name with at most one '*': write, say, refs/heads/release/*"
        )
