"""`/api/v4/features`: GitLab's own shape, so that its clients are clients of this."""

from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from mirroring import revision
from mirroring.flags import actors, changes, clock, milestones, registry, shown
from mirroring.flags.changes import Change, Origin
from mirroring.flags.definition import Definition
from mirroring.flags.moves import share
from mirroring.models.api_token import ApiToken, Scope
from mirroring.web.api.access import Rejected, api, fields

ACTOR_FIELDS = {
    "project": "mirror",
    "repository": "mirror",
    "group": "group",
    "namespace": "group",
    "host": "host",
}
"""GitLab's names, and what stands for them here."""

MEANINGLESS = ("user", "feature_group")
PERCENTAGE_KEY = "percentage_of_actors"


@api(GET=Scope.READ_FLAGS)
def listed(request: HttpRequest, token: ApiToken) -> HttpResponse:
    """List the flags that are set, as GitLab does."""
    found = [_feature(flag) for flag in shown.every(now=clock.now()) if flag["set"]]
    return JsonResponse(
        found, safe=False, headers={"X-Total": str(len(found)), "X-Page": "1", "X-Next-Page": ""}
    )


@api(GET=Scope.READ_FLAGS)
def defined(request: HttpRequest, token: ApiToken) -> HttpResponse:
    """List the definitions."""
    return JsonResponse([_definition(made) for made in registry.definitions()], safe=False)


@api(POST=Scope.WRITE_FLAGS, DELETE=Scope.WRITE_FLAGS)
def feature(request: HttpRequest, token: ApiToken, name: str) -> HttpResponse:
    """Set a flag, or delete what was set."""
    given = fields(request) if request.method == "POST" else {**request.GET.dict()}
    definition = registry.definition(name)
    change = Change(forget=True) if request.method == "DELETE" else _change(given, definition)
    entry = changes.change_flag(
        name,
        change,
        by=f"token:{token.name}",
        origin=Origin.API,
        why=str(
            given.get("why") or request.GET.get("why", "")
        ),  # python-gitlab sends what it does not know there.
        overrides=_overrides(given),
    )
    if request.method == "DELETE":
        return HttpResponse(status=204)
    made = _feature(shown.one(name, now=clock.now()))
    return JsonResponse({**made, "notes": shown.dropped(entry)}, status=201)


@api(GET=Scope.READ_FLAGS)
def version(request: HttpRequest, token: ApiToken) -> HttpResponse:
    """Say what runs here, in the place where GitLab's clients look."""
    return JsonResponse({"version": milestones.CURRENT, "revision": revision.current()})


def _change(given: dict[str, Any], definition: Definition) -> Change:
    for field in MEANINGLESS:
        if given.get(field):
            raise Rejected(
                400, f"Flags here are not for a {field}: use project (a mirror's GROUP/NAME), group or host"
            )
    listed = tuple(
        actors.parse(f"{kind}:{name.strip()}", of=definition)
        for field, kind in ACTOR_FIELDS.items()
        for name in str(given.get(field) or "").split(",")
        if name.strip()
    )
    on = _boolean(given.get("value"))
    if on is None:
        return Change(percentage=_percentage(given), actors_add=listed)
    if not listed:
        return Change(on=on)
    return Change(actors_add=listed) if on else Change(actors_remove=listed)


def _boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value).lower())


def _percentage(given: dict[str, Any]) -> Decimal:
    if "value" not in given:
        raise Rejected(400, "value is missing: true, false or a percentage")
    if given.get("key", "percentage_of_time") != PERCENTAGE_KEY:
        raise Rejected(
            400,
            "A percentage of time would answer the same actor now so, now so, and there is none here: "
            f"send key={PERCENTAGE_KEY}",
        )
    return share(given["value"])


def _overrides(given: dict[str, Any]) -> frozenset[str]:
    """Return the gates to override. GitLab's `force`, which skips the definition, has no power here."""
    asked = given.get("override", [])
    names = asked.split(",") if isinstance(asked, str) else asked
    return frozenset(str(name).strip() for name in names if str(name).strip())


def _feature(flag: dict[str, Any]) -> dict[str, Any]:
    gates: list[dict[str, Any]] = [{"key": "boolean", "value": flag["state"] == "on"}]
    if flag["percentage"] is not None:
        gates.append({"key": PERCENTAGE_KEY, "value": float(flag["percentage"])})
    if flag["actors"]:
        gates.append({"key": "actors", "value": flag["actors"]})
    state = flag["state"] if flag["state"] in {"on", "off"} else "conditional"
    return {
        "name": flag["name"],
        "state": state,
        "gates": gates,
        "definition": _definition(registry.definition(flag["name"])),
    }


def _definition(made: Definition) -> dict[str, Any]:
    return {
        "name": made.name,
        "introduced_by_url": made.introduced_by,
        "rollout_issue_url": made.rollout_issue,
        "milestone": made.milestone,
        "log_state_changes": True,
        "type": str(made.type),
        "group": made.owner.team,
        "default_enabled": made.default,
    }
