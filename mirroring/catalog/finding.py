"""Finding mirrors and groups by the names that people use."""

from django.db.models import QuerySet

from mirroring.catalog.errors import Ambiguous, Unknown
from mirroring.models import Group, Mirror

SHOWN = 5


def find(name: str) -> Mirror:
    """Return the kept mirror called `group/name`, or `name` where one group has it. Raise Unknown or Ambiguous."""
    found = list(_called(name, removed=False)[: SHOWN + 1])
    if len(found) == 1:
        return found[0]
    if found:
        raise Ambiguous(f"Several mirrors are called {name!r}: write one of {_paths(found)}")
    raise _unknown(name)


def find_removed(name: str) -> Mirror:
    """Return the removed mirror of that name, of several the one removed last; raise Unknown or Ambiguous."""
    found = list(_called(name, removed=True).order_by("-deleted_at", "-pk")[: SHOWN + 1])
    if not found:
        raise Unknown(f"No removed mirror is called {name!r}: see `manage.py mirror list --status removed`")
    if len({mirror.path for mirror in found}) > 1:
        raise Ambiguous(f"Several removed mirrors are called {name!r}: write one of {_paths(found)}")
    return found[0]


def find_group(name: str) -> Group:
    """Return the group of that name, or raise Unknown."""
    group = Group.objects.filter(name=name).first()
    if group is None:
        raise Unknown(f"There is no group {name!r}: `manage.py group list` shows those there are")
    return group


def _called(name: str, *, removed: bool) -> QuerySet[Mirror]:
    group, _, last = name.rpartition("/")
    mirrors = Mirror.objects.select_related("group", "host", "state", "credential__group").filter(
        name=last, deleted_at__isnull=not removed
    )
    return mirrors.filter(group__name=group) if group else mirrors


def _unknown(name: str) -> Unknown:
    if _called(name, removed=True).exists():
        return Unknown(f"The mirror {name!r} was removed: `manage.py mirror restore {name}` brings it back")
    elsewhere = list(_called(name.rpartition("/")[2], removed=False)[:SHOWN])
    if elsewhere:
        return Unknown(f"There is no mirror {name!r}; there is {_paths(elsewhere)}")
    return Unknown(f"There is no mirror {name!r}: `manage.py mirror list` shows those there are")


def _paths(mirrors: list[Mirror]) -> str:
    paths = sorted({mirror.path for mirror in mirrors})
    return ", ".join(paths[:SHOWN]) + (", ..." if len(paths) > SHOWN else "")
