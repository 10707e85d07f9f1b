"""The commands on the plan of a flag and on its end, and the items of the plan that other environments answer."""

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path

from mirroring.chatops import configuration, environments
from mirroring.chatops.act import Act, ActFailed, Answer, Caller
from mirroring.flags import registry, stale
from mirroring.flags.changes import Origin
from mirroring.flags.models import Flag
from mirroring.models import PlanTick
from mirroring.rollout import announcing, cleanup
from mirroring.rollout import plan as planning
from mirroring.rollout.plan import Evidence, Line
from mirroring.rollout.rolling_back import RolloutRefused, utc_now
from mirroring.rules.words import counted

SHOWN = 40

NOT_TOLD = "not told, for want of a channel or SLACK_BOT_TOKEN, or Slack refused (see the log): tell it, then tick it"


def plan(options: Namespace, caller: Caller) -> Answer:
    """Show the checklist of a flag, or tick an item that only a person can."""
    if options.verb:
        return _tick(options, caller)
    lines = planning.plan(options.name, now=utc_now())
    made = registry.definition(options.name)
    done = sum(line.done for line in lines)
    head = f"{options.name}, {made.owner.team} ({made.owner.contact}, {made.owner.channel}): {done} of {len(lines)}"
    return Answer("\n".join([head, *map(_words, lines)]), [_data(line) for line in lines])


def _tick(options: Namespace, caller: Caller) -> Answer:
    if options.verb != "tick" or not options.item:
        raise ActFailed("Write: feature plan NAME tick ITEM --by WHO --evidence TEXT")
    # Whoever types may say who it was; who typed stays in it.
    by = f"{options.by} (says {caller.by})" if options.by and options.by != caller.by else caller.by
    try:
        tick = planning.tick(options.name, options.item, by=by, evidence=options.evidence, now=utc_now())
    except RolloutRefused as error:
        raise ActFailed(str(error)) from error
    data = {"item": tick.item, "by": tick.by, "at": tick.at, "evidence": tick.evidence}
    return Answer(f"{tick.item} ticked by {tick.by}: {tick.evidence}", data)


def _words(line: Line) -> str:
    mark = "x" if line.done else " "
    human = f" (by {line.by or 'a person'})" if line.item.human else ""
    return f"[{mark}] {line.item.key:22} {line.item.text}{human}: {line.evidence}"


def _data(line: Line) -> dict[str, object]:
    return {
        "item": line.item.key,
        "section": line.item.section,
        "text": line.item.text,
        "type": line.item.kind,
        "human": line.item.human,
        "done": line.done,
        "by": line.by,
        "at": line.at,
        "evidence": line.evidence,
    }


def announce(options: Namespace, caller: Caller) -> Answer:
    """Tell three channels when a flag is expected to be turned on here, and tick those that were reached."""
    now, definition = utc_now(), registry.definition(options.name)
    announcing.tell_ahead(options.name, at=_coming(options.at, now=now), by=caller.by)
    told = {tick.item: tick.evidence for tick in PlanTick.objects.filter(flag=options.name, at__gte=now)}
    lines = [
        f"[{'x' if item.key in told else ' '}] {item.key}: {told.get(item.key, NOT_TOLD)}"
        for item in planning.ITEMS
        if item.either
    ]
    lines.append(f"Post it on the rollout issue, too: {definition.rollout_issue}")
    return Answer("\n".join(lines), told, ok=bool(told))


def _coming(text: str, *, now: datetime) -> datetime:
    """Return a time that is to come; raise ActFailed."""
    try:
        given = datetime.fromisoformat(text)
        at = given.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ActFailed(f"{text!r} is no time: write it as in 2026-05-01T14:00Z") from None
    if given.tzinfo is None:
        raise ActFailed(f"{text} is another time in each place: end it with Z, or as in +02:00")
    if at <= now:
        raise ActFailed(f"{text} is over: announce what is to come")
    return at


def clean_up(options: Namespace, caller: Caller) -> Answer:
    """Say whether a flag may go, where it is named, and make the patch that takes it out."""
    registry.named(options.name)
    if options.patch and caller.origin is not Origin.CLI:
        raise ActFailed(
            "--patch writes a file where the service runs: type `manage.py feature cleanup` there"
        )
    judged = cleanup.verdict(options.name, now=utc_now())
    found = cleanup.references(options.name)
    lines = [
        f"{options.name} may go."
        if judged.may_go
        else f"{options.name} may not go: {'; '.join(judged.reasons)}."
    ]
    lines += [f"  {each.path}:{each.line}: {each.text[:100]}" for each in found[:SHOWN]]
    by_hand = [each for each in found if each.by_hand]
    lines.append(
        f"It is named in {counted(len(found), 'line')}; {len(by_hand)} of them are left to a person."
    )
    if options.patch:
        Path(options.patch).write_text(cleanup.patch(options.name), errors="surrogateescape")
        lines.append(f"The patch is in {options.patch}: git apply {options.patch}")
    data = {"may_go": judged.may_go, "reasons": judged.reasons, "references": [vars(each) for each in found]}
    old = [each.reason for each in stale.report(now=utc_now()) if each.flag == options.name]
    lines += [f"Stale: {reason}" for reason in old]
    # Somebody who asks for the patch gets it, whatever is in the way.
    return Answer("\n".join(lines), {**data, "stale": old}, ok=judged.may_go or bool(options.patch))


def _plan_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("verb", nargs="?", default="", metavar="tick")
    parser.add_argument("item", nargs="?", default="", metavar="ITEM")
    parser.add_argument("--by", default="", metavar="WHO", help="who says so (default: you)")
    parser.add_argument("--evidence", default="", metavar="TEXT", help="a link, a time, a name")


def _announce_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--at", required=True, metavar="TIME", help="when, as in 2026-05-01T14:00Z")


def _cleanup_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--patch", default="", metavar="FILE", help="write the removal there")


def _others() -> list[str]:
    return [name for name in configuration.current().reachable if not environments.is_here(name)]


def _states(flag: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _others():
        try:
            found[name] = str(environments.flag(name, flag).get("state", "off"))
        except environments.EnvironmentDown as error:
            found[name] = f"not known: {error}"
    return found


def _on_elsewhere(flag: str, now: datetime) -> Evidence:
    states = _states(flag)
    text = ", ".join(f"{name}: {state}" for name, state in states.items())
    return Evidence(
        all(state == "on" for state in states.values()), text or "no other environment is configured"
    )


def _deleted(flag: str, now: datetime) -> Evidence:
    left = [] if not Flag.objects.filter(name=flag).exists() else ["here"]
    for name in _others():
        try:
            if environments.flag(name, flag).get("set", True):
                left.append(name)
        except environments.EnvironmentDown:
            left.append(f"{name} (not known)")
    return Evidence(not left, f"still set: {', '.join(left)}" if left else "set nowhere")


def register() -> None:
    """Let other environments answer for their items of the plan. Called when Django starts."""
    planning.register("on_elsewhere", _on_elsewhere)
    planning.register("deleted", _deleted)


ACTS = (
    Act(
        ("feature", "plan"),
        "Show or tick the checklist of a flag's rollout.",
        plan,
        _plan_arguments,
        changes_if=lambda options: bool(options.verb),
    ),
    Act(
        ("feature", "announce"),
        "Tell when a flag is expected to be turned on.",
        announce,
        _announce_arguments,
        changes=True,
    ),
    Act(("feature", "cleanup"), "Say whether a flag may go, and how.", clean_up, _cleanup_arguments),
)
