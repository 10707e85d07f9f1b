"""The commands on flags: list, get, set, delete, their audit, and the change freeze."""

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from decimal import Decimal, InvalidOperation

from mirroring.chatops.act import Act, ActFailed, Answer, Caller, always
from mirroring.flags import actors, audit, changes, clock, freezing, gates, registry, shown, stale
from mirroring.flags.changes import Change
from mirroring.flags.moves import share
from mirroring.flags.state import in_words
from mirroring.models.flag_change import FlagChange
from mirroring.rules.words import counted

SHOWN_CHANGES = 20


def value(text: str) -> bool | Decimal:
    """Read the value of a flag: an argparse type."""
    if text in {"true", "false"}:
        return text == "true"
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ArgumentTypeError(f"{text!r} is neither true nor false nor a percentage") from None


def _match(parser: ArgumentParser) -> None:
    parser.add_argument("--match", default="", metavar="TEXT", help="only flags whose name holds this")


def _name(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")


def why_and_overrides(parser: ArgumentParser) -> None:
    """Add what every change takes."""
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, for the audit")
    parser.add_argument(
        "--override", action="append", default=[], metavar="GATE", help=f"{', '.join(gates.names())} or all"
    )
    parser.add_argument("--force", action="store_true", help="the same as --override all")


def overrides(options: Namespace) -> frozenset[str]:
    """Return the gates to override."""
    return frozenset([*options.override, *([gates.EVERY_GATE] if options.force else [])])


def _set_arguments(parser: ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("value", type=value, metavar="true|false|PERCENT")
    parser.add_argument("--actors", action="store_true", help="the percentage is one of actors")
    for kind in actors.KINDS:
        parser.add_argument(
            f"--{kind}", action="append", default=[], metavar="NAME", help=f"for this {kind} only"
        )
    why_and_overrides(parser)


def _audit_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", default="")
    parser.add_argument("--export", action="store_true", help="everything, as JSON lines")
    parser.add_argument("--verify", action="store_true", help="check the seals and the flags' rows")
    parser.add_argument("--head", default="", metavar="DIGEST", help="with --verify: must still be in it")


def show_list(options: Namespace, caller: Caller) -> Answer:
    """List the flags that are defined."""
    found = [flag for flag in shown.every(now=clock.now()) if options.match in flag["name"]]
    return Answer(shown.table(found), found)


def get(options: Namespace, caller: Caller) -> Answer:
    """Show one flag."""
    flag = shown.one(options.name, now=clock.now())
    listed = f" Actors: {', '.join(flag['actors'])}." if flag["actors"] else ""
    return Answer(f"{flag['name']} is {flag['state']}. {flag['description']}{listed}", flag)


def change_of(options: Namespace, definition: registry.Definition) -> Change:
    """Return the change that `set` asks for; raise FlagRefused for what cannot be meant."""
    named = [f"{kind}:{name}" for kind in actors.KINDS for name in getattr(options, kind)]
    listed = tuple(actors.parse(text, of=definition) for text in named)
    if isinstance(options.value, Decimal):
        if not options.actors:
            raise changes.FlagRefused(
                "A percentage is one of actors, never of calls, which would answer the same actor now so, now so: "
                "add --actors"
            )
        return Change(percentage=share(options.value), actors_add=listed)
    if not listed:
        return Change(on=options.value)
    return Change(actors_add=listed) if options.value else Change(actors_remove=listed)


def _turns_off(options: Namespace) -> bool:
    listed = any(getattr(options, kind) for kind in actors.KINDS)
    return options.value is False or (options.value == 0 and not listed)


def _forgets_to_off(options: Namespace) -> bool:
    return not (registry.is_defined(options.name) and registry.definition(options.name).default)


def set_value(options: Namespace, caller: Caller) -> Answer:
    """Change a flag."""
    definition = registry.definition(options.name)
    entry = changes.change_flag(
        options.name,
        change_of(options, definition),
        by=caller.by,
        origin=caller.origin,
        why=options.why,
        overrides=overrides(options),
    )
    return changed(entry)


def delete(options: Namespace, caller: Caller) -> Answer:
    """Forget what was set."""
    entry = changes.change_flag(
        options.name,
        Change(forget=True),
        by=caller.by,
        origin=caller.origin,
        why=options.why,
        overrides=overrides(options),
    )
    if not registry.is_defined(options.name):
        return Answer(f"{options.name} is forgotten: no definition stood behind its row.", None)
    return changed(entry)


def changed(entry: FlagChange) -> Answer:
    """Say what a change did: also what it dropped, and what it overrode."""
    flag, everything = shown.one(entry.flag, now=clock.now()), shown.every(now=clock.now())
    notes = [*shown.without_effect(everything), *shown.dropped(entry)]
    if entry.overrides:
        notes.append(f"Note: overridden, and recorded as such: {', '.join(entry.overrides)}.")
    default = "" if flag["set"] else ", its default"
    return Answer(
        f"{entry.flag} is now {flag['state']}{default}.", flag, notes=tuple(notes), flags=(entry.flag,)
    )


def show_audit(options: Namespace, caller: Caller) -> Answer:
    """Show, export or verify the audit."""
    if options.verify:
        return _verified(options.head)
    if options.export:
        lines = list(audit.export())
        return Answer("\n".join(lines), lines)
    entries = FlagChange.objects.all()
    if options.name:
        entries = entries.filter(flag=registry.named(options.name))
    found = [audit.as_json(entry) for entry in entries[:SHOWN_CHANGES]]
    return Answer("\n".join(map(line, found)) or "No flag was ever changed.", found)


def line(entry: dict[str, object]) -> str:
    """Return one entry of the audit as a line."""
    before, after = (in_words(entry[side]) for side in ("before", "after"))  # type: ignore[arg-type]
    why = f": {entry['why']}" if entry["why"] else ""
    at = re.sub(r"\..*", "Z", str(entry["at"]))
    return f"{entry['sequence']}  {at}  {entry['flag']}  {before} -> {after}  {entry['by']} by {entry['origin']}{why}"


def _verified(head: str) -> Answer:
    verdict = audit.verify(head=head)
    faults = [
        f"entry {fault.sequence}: {fault.text}" if fault.sequence else fault.text for fault in verdict.faults
    ]
    data = {"entries": verdict.entries, "head": verdict.head, "faults": faults}
    if faults:
        return Answer("\n".join(["The audit was tampered with:", *faults]), data, ok=False)
    return Answer(
        f"{counted(verdict.entries, 'entry')}, all sealed. Head to keep elsewhere: {verdict.head}", data
    )


def show_stale(options: Namespace, caller: Caller) -> Answer:
    """Name the flags that should be gone."""
    found = stale.report(now=clock.present())
    text = "\n".join(f"{entry.flag}: {entry.reason} ({entry.owner})" for entry in found)
    return Answer(text or "No flag is stale.", [vars(entry) for entry in found])


def _freeze_reason(parser: ArgumentParser) -> None:
    parser.add_argument("--why", required=True, metavar="TEXT", help="the reason, shown to who is refused")


def freeze(options: Namespace, caller: Caller) -> Answer:
    """Begin a change freeze."""
    held = freezing.begin(options.why, by=caller.by, origin=caller.origin, now=clock.present())
    return Answer(f"A change freeze holds: {held}. Flags can be turned off, not on.", {"freeze": str(held)})


def thaw(options: Namespace, caller: Caller) -> Answer:
    """End the change freeze."""
    if not freezing.end(by=caller.by, origin=caller.origin, now=clock.present()):
        raise ActFailed("No change freeze holds")
    return Answer("The change freeze is over.", {"freeze": None})


def _delete_arguments(parser: ArgumentParser) -> None:
    _name(parser)
    why_and_overrides(parser)


ACTS = (
    Act(("feature", "list"), "List the flags that are defined, in the order of rollout.", show_list, _match),
    Act(("feature", "get"), "Show one flag.", get, _name),
    Act(
        ("feature", "set"),
        "Turn a flag on or off, for all or for some.",
        set_value,
        _set_arguments,
        changes=True,
        calms=_turns_off,
    ),
    Act(
        ("feature", "delete"),
        "Forget what was set: the default holds.",
        delete,
        _delete_arguments,
        changes=True,
        calms=_forgets_to_off,
    ),
    Act(("feature", "audit"), "Show who changed what; export or verify it.", show_audit, _audit_arguments),
    Act(("feature", "stale"), "Name the flags that should be gone.", show_stale),
    Act(
        ("feature", "freeze"), "Let no flag be turned on.", freeze, _freeze_reason, changes=True, calms=always
    ),
    Act(("feature", "thaw"), "End the change freeze.", thaw, changes=True),
)
