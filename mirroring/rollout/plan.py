"""The checklist of a flag's rollout issue. What can be checked ticks itself, with evidence."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from mirroring.flags import readings, registry
from mirroring.models import PlanTick, Rollout
from mirroring.rollout import cleanup
from mirroring.rollout.guards import Verdict
from mirroring.rollout.rolling_back import RolloutRefused
from mirroring.rules.words import counted
from mirroring.tracker.connection import connect
from mirroring.tracker.job_tracker import TrackerDown

COVER = timedelta(hours=2)
"""How long somebody has to be reachable after a change in production; his tick holds for so long."""


@dataclass(frozen=True)
class Item:
    """One line of the checklist. A human one has no checker: somebody says so, by name, with evidence of a kind.

    `either`: the rollout ticks it when it does it, or a person who has.
    """

    key: str
    section: str
    text: str
    kind: str
    human: bool = False
    either: bool = False
    holds: timedelta | None = None


@dataclass(frozen=True)
class Evidence:
    """What a checker found."""

    done: bool
    text: str


@dataclass(frozen=True)
class Line:
    """One item as it stands."""

    item: Item
    done: bool
    by: str
    at: datetime | None
    evidence: str


Checker = Callable[[str, datetime], Evidence]

NON_PRODUCTION, PREPARATION = "non-production", "preparation"
PRODUCTION, RELEASE = "production", "release"

ITEMS = (
    Item("deployed", NON_PRODUCTION, "The code is deployed: every live process knows the flag", "workers"),
    Item("required_stable", NON_PRODUCTION, "The flag that it requires is on and stable", "flag"),
    Item("on_elsewhere", NON_PRODUCTION, "On in every environment before this one", "environments"),
    Item("qa_result", NON_PRODUCTION, "It works there: the result of the test is posted", "link", human=True),
    Item(
        "change_issue",
        PREPARATION,
        "Change management: its issue, or that none is needed",
        "link",
        human=True,
    ),
    Item(
        "cover",
        PREPARATION,
        "The owner or on-call cover is reachable for two hours",
        "person",
        human=True,
        holds=COVER,
    ),
    Item("docs_updated", PREPARATION, "The documentation names the flag", "file"),
    Item(
        "announced_team",
        PREPARATION,
        "Announced in the team's channel, with the expected time",
        "time",
        either=True,
    ),
    Item(
        "announced_production",
        PREPARATION,
        "Announced in the production channel, with the time",
        "time",
        either=True,
    ),
    Item(
        "announced_support",
        PREPARATION,
        "Announced in the support channel, with the time",
        "time",
        either=True,
    ),
    Item("announced_issue", PREPARATION, "The expected time is on the feature issue", "time", human=True),
    Item("guards_green", PRODUCTION, "Every guard of its latest rollout is good", "guards"),
    Item("on_here", PRODUCTION, "On for all, by no lease", "flag"),
    Item("stable", PRODUCTION, "On and stable for a day", "flag"),
    Item("released", RELEASE, "The changelog names the flag", "file"),
    Item("cleaned_up", RELEASE, "Nothing in code or definitions names the flag", "files"),
    Item("cleanup_deployed", RELEASE, "The clean-up is deployed everywhere", "link", human=True),
    Item("feature_closed", RELEASE, "The feature issue is closed", "link", human=True),
    Item("deleted", RELEASE, "Its row is gone from every environment", "environments"),
    Item("issue_closed", RELEASE, "The rollout issue is closed", "link", human=True),
)

_checkers: dict[str, Checker] = {}


def register(key: str, checker: Checker) -> None:
    """Let an item tick itself. What only a higher layer can find out is registered from there."""
    _checkers[key] = checker


def plan(flag: str, *, now: datetime) -> list[Line]:
    """Return the checklist of a flag as it stands."""
    registry.named(flag)
    ticks: dict[str, PlanTick] = {}
    for tick in PlanTick.objects.filter(flag=flag).order_by("at"):
        ticks[tick.item] = tick
    return [_line(flag, item, ticks.get(item.key), now=now) for item in ITEMS]


def _line(flag: str, item: Item, tick: PlanTick | None, *, now: datetime) -> Line:
    if not item.human and not item.either:
        checker = _checkers.get(item.key)
        found = checker(flag, now) if checker else Evidence(done=False, text="nothing here can check this")
        return Line(item, found.done, "check", now, found.text)
    if tick is None:
        return Line(
            item,
            done=False,
            by="",
            at=None,
            evidence="a rollout announces it, or a person" if item.either else "a person has to say so",
        )
    over = item.holds is not None and now - tick.at > item.holds
    return Line(item, not over, tick.by, tick.at, f"{tick.evidence}{' (over)' if over else ''}")


def tick(flag: str, key: str, *, by: str, evidence: str, now: datetime) -> PlanTick:
    """Tick an item that only a person can; raise RolloutRefused for the others and for empty evidence.

    A flag that was cleaned up can still be ticked: the last items of its plan come after that.
    """
    if not PlanTick.objects.filter(flag=flag).exists():
        registry.named(flag)
    item = next((item for item in ITEMS if item.key == key), None)
    human = ", ".join(item.key for item in ITEMS if item.human or item.either)
    if item is None or not (item.human or item.either):
        why = "is no item of the plan" if item is None else "ticks itself"
        raise RolloutRefused(f"{key} {why}. People tick: {human}")
    if not by.strip() or not evidence.strip():
        raise RolloutRefused("A tick needs who says so (--by) and on what evidence (--evidence)")
    if item.kind == "time" and not _names_a_time(evidence):
        raise RolloutRefused(f"{key}: the evidence must name the expected time, as in 2026-05-01T14:00Z")
    return PlanTick.objects.create(flag=flag, item=key, at=now, by=by, kind=item.kind, evidence=evidence)


def _names_a_time(text: str) -> bool:
    for word in text.replace(",", " ").split():
        try:
            datetime.fromisoformat(word)
        except ValueError:
            continue
        return True
    return False


# -- checkers -----------------------------------------------------------------------------------------------


def _deployed(flag: str, now: datetime) -> Evidence:
    try:
        workers = [worker for worker in connect().workers() if worker.flags]
    except TrackerDown as error:
        return Evidence(done=False, text=str(error))
    older = [worker.name for worker in workers if flag not in worker.flags]
    text = f"not known to {', '.join(older)}" if older else f"{len(workers)} live processes know it"
    return Evidence(bool(workers) and not older, text)


def _required(flag: str, now: datetime) -> Evidence:
    required = registry.definition(flag).requires
    if required is None:
        return Evidence(done=True, text="it requires none")
    state = readings.read(required.flag, now=now).state
    settled = state.for_all and state.on_until is None
    long_enough = state.on_since is None or now - state.on_since >= required.stable_for
    since = f" since {state.on_since:%Y-%m-%d %H:%M} UTC" if state.on_since else ""
    return Evidence(settled and long_enough, f"{required.flag} is {state.words()}{since}")


def _docs(flag: str, now: datetime) -> Evidence:
    found = [each for each in cleanup.references(flag) if each.kind == "docs"]
    return Evidence(bool(found), f"{found[0].path}:{found[0].line}" if found else "no page names it")


def _guards(flag: str, now: datetime) -> Evidence:
    rollout = Rollout.objects.filter(flag=flag, shadow=False).exclude(steps=[]).first()
    if rollout is None:
        return Evidence(done=False, text="there has been no rollout")
    bad = [each["guard"] for each in rollout.judgements if each["verdict"] != Verdict.GOOD]
    text = f"rollout {rollout.pk}: {rollout.state}" + (f"; not good: {', '.join(bad)}" if bad else "")
    return Evidence(bool(rollout.judgements) and not bad and not rollout.failed, text)


def _on_here(flag: str, now: datetime) -> Evidence:
    state = readings.read(flag, now=now).state
    lease = f", by a lease until {state.on_until:%H:%M:%S} UTC" if state.on_until else ""
    return Evidence(state.for_all and not lease, f"{settings.ENVIRONMENT}: {state.words()}{lease}")


def _stable(flag: str, now: datetime) -> Evidence:
    judged = cleanup.verdict(flag, now=now)
    return Evidence(judged.may_go, "; ".join(judged.reasons) or "on for all for a day or more")


def _released(flag: str, now: datetime) -> Evidence:
    path = settings.BASE_DIR / cleanup.CHANGELOG
    named = path.exists() and flag in path.read_text()
    return Evidence(named, f"{cleanup.CHANGELOG} {'names it' if named else 'does not name it'}")


def _cleaned_up(flag: str, now: datetime) -> Evidence:
    left = [each for each in cleanup.references(flag) if each.kind in {"code", "definition"}]
    return Evidence(not left, f"named in {counted(len(left), 'line')}" if left else "no line names it")


for _key, _checker in {
    "deployed": _deployed,
    "required_stable": _required,
    "docs_updated": _docs,
    "guards_green": _guards,
    "on_here": _on_here,
    "stable": _stable,
    "released": _released,
    "cleaned_up": _cleaned_up,
}.items():
    register(_key, _checker)
