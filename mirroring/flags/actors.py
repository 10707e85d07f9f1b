"""Who a flag can be on for, and the hash that decides on a percentage."""

import hashlib
from dataclasses import dataclass
from decimal import Decimal

from mirroring.flags.definition import ActorKind, Definition
from mirroring.models import Group, Host, Mirror

BUCKETS = 100_000
"""The hash tells actors apart to a thousandth of a per cent."""

KINDS = ("mirror", "group", "host")


class UnknownActor(ValueError):
    """No such actor; the text says how actors are written."""


@dataclass(frozen=True)
class Actor:
    """One thing a flag can be on for. `within`: its group and host, which may be listed in its place."""

    kind: str
    id: str
    within: tuple["Actor", ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"

    @classmethod
    def of_mirror(cls, mirror: Mirror) -> "Actor":
        """Return a mirror as an actor. Its id, not its name, so that a rename changes nothing."""
        return cls("mirror", str(mirror.pk), (cls("group", mirror.group.name), cls("host", mirror.host.name)))

    @classmethod
    def of_host(cls, host: Host) -> "Actor":
        """Return a host as an actor."""
        return cls("host", host.name)

    def listed(self, actors: frozenset[str]) -> bool:
        """Say whether the list names this actor or what it is within."""
        return str(self) in actors or any(str(outer) in actors for outer in self.within)


def bucket(flag: str, actor: Actor) -> int:
    """Return the place of an actor among BUCKETS: the same for ever, and another for each flag.

    A share of p per cent is the actors below p, so one that grows takes nobody out and one that shrinks nobody in.
    """
    digest = hashlib.sha256(f"{flag}\0{actor}".encode()).digest()
    return int.from_bytes(digest[:8]) % BUCKETS


def within_share(flag: str, actor: Actor, percentage: Decimal) -> bool:
    """Say whether an actor belongs to the share of actors that a flag is on for."""
    return bucket(flag, actor) < percentage * (BUCKETS // 100)


def parse(text: str, *, of: Definition) -> str:
    """Return what people write (`mirror:group/name`, `group:G`, `host:H`) as it is kept; raise UnknownActor."""
    kind, _, name = text.partition(":")
    if kind not in KINDS or not name:
        raise UnknownActor(f"{text!r} is no actor: write mirror:GROUP/NAME, group:GROUP or host:HOST")
    if of.actor is ActorKind.HOST and kind != "host":
        raise UnknownActor(f"{of.name} is read for hosts, never for a {kind}: write host:HOST")
    return f"{kind}:{_key(kind, name)}"


def _key(kind: str, name: str) -> str:
    if kind == "mirror":
        mirror = Mirror.objects.named(name).first()
        if mirror is None:
            raise UnknownActor(f"There is no mirror {name!r}: see `manage.py mirror list`")
        return str(mirror.pk)
    model: type[Group | Host] = Group if kind == "group" else Host
    if not model.objects.filter(name=name).exists():
        raise UnknownActor(f"There is no {kind} {name!r}")
    return name


def shown(kept: str) -> str:
    """Return an actor as people write it."""
    kind, _, key = kept.partition(":")
    mirror = Mirror.objects.filter(pk=key).select_related("group").first() if kind == "mirror" else None
    return f"mirror:{mirror.path}" if mirror else kept
