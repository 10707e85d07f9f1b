"""Groups, and the tokens that open them."""

import logging
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from mirroring.catalog.errors import GroupInUse, Invalid, NameTaken, NothingToChange, Unknown
from mirroring.catalog.wanted import check_name
from mirroring.models import Group, GroupToken
from mirroring.rules.words import counted

logger = logging.getLogger(__name__)

MAX_TEXT = 200


def add_group(name: str, *, owner: str = "", contact: str = "", public: bool = True) -> Group:
    """Make a group. Raise Invalid or NameTaken."""
    group = Group(
        name=check_name(name, what="group"), owner=_short(owner), contact=_short(contact), public=public
    )
    try:
        with transaction.atomic():
            group.save(force_insert=True)
    except IntegrityError:
        raise NameTaken(f"There is a group {name!r} already: edit it, or choose another name") from None
    logger.info("group added", extra={"group": name})
    return group


def edit_group(
    group: Group,
    *,
    name: str | None = None,
    owner: str | None = None,
    contact: str | None = None,
    public: bool | None = None,
) -> Group:
    """Change a group; None leaves a field alone. A new name changes the clone URLs of all its mirrors."""
    changes: dict[str, object] = {} if public is None else {"public": public}
    if name is not None:
        changes["name"] = check_name(name, what="group")
    changes |= {
        field: _short(value) for field, value in (("owner", owner), ("contact", contact)) if value is not None
    }
    if not changes:
        raise NothingToChange("Nothing to change: say what, for example the owner")
    try:
        with transaction.atomic():
            Group.objects.filter(pk=group.pk).update(**changes)
    except IntegrityError:
        raise NameTaken(f"There is a group {name!r} already: choose another name") from None
    logger.info("group edited", extra={"group": group.pk, "fields": sorted(changes)})
    return Group.objects.get(pk=group.pk)


def remove_group(group: Group) -> None:
    """Remove a group that owns no mirrors, with its tokens. Raise GroupInUse."""
    try:
        with transaction.atomic():
            group.delete()
    except (ProtectedError, IntegrityError):
        kept = group.mirrors.filter(deleted_at=None).count()
        removed = group.mirrors.exclude(deleted_at=None).count()
        raise GroupInUse(
            f"The group {group.name!r} still owns {counted(kept, 'mirror')}, and {removed} removed ones that can be "
            "restored: move the first to another group, and wait for the others to be purged"
        ) from None
    logger.info("group removed", extra={"group": group.name})


def add_token(group: Group, *, name: str) -> tuple[GroupToken, str]:
    """Issue a token and return it with its clear text, which nobody can show again. Raise Invalid or NameTaken."""
    if not name.strip() or not name.isprintable():
        raise Invalid("Name the token by who or what holds it")
    with transaction.atomic():
        # Locked, so that of two calls at once the second sees the token of the first.
        Group.objects.select_for_update().get(pk=group.pk)
        if group.tokens.filter(name=name, revoked_at=None).exists():
            raise NameTaken(
                f"The group {group.name!r} has a token {name!r}: revoke it or choose another name"
            )
        token, text = GroupToken.issue(group, _short(name))
    logger.info("group token issued", extra={"group": group.pk, "token": token.pk})
    return token, text


def revoke_token(group: Group, *, name: str, now: datetime) -> None:
    """Let a token open nothing any more, from the next request on. Raise Unknown."""
    if not group.tokens.filter(name=name, revoked_at=None).update(revoked_at=now):
        raise Unknown(f"The group {group.name!r} has no valid token {name!r}: list its tokens")
    logger.info("group token revoked", extra={"group": group.pk, "token_name": name})


def _short(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise Invalid(f"{text[:20]!r}... is longer than {MAX_TEXT} characters: shorten it")
    return text
