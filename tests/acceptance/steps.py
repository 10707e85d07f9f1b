"""What the run does, step by step, once everything is up."""

import json
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.journal import Journal
from tests.acceptance.plan import POSITIONS, Failed, Plan
from tests.acceptance.screen import Screen
from tests.acceptance.stack import CHECKS, FLAGS, Stack
from tests.acceptance.upstreams import Pushes, Source, write_import_file
from tests.acceptance.watch import Watch
from tests.verify import git_facts

# A flip is seen within a second and told with the next heartbeat, two seconds later; the rest is for slow machines.
SETTLING_SECONDS = 6.0
SHORTEST_POSITION_SECONDS = 9.0
SUCCESSES_IN_A_POSITION = 3
TELLING = ("big", "unicode", "merges")


@dataclass
class Run:
    """What all steps share."""

    plan: Plan
    folder: Path
    sources: list[Source]
    stack: Stack
    journal: Journal
    screen: Screen

    @property
    def fresh(self) -> list[Source]:
        """Those that are expected to be fresh."""
        return [source for source in self.sources if source.expected == "fresh"]


def configure(run: Run) -> None:
    """Set delays, ticks, leases and deadlines to seconds, as an operator would."""
    run.journal.enter("settings to seconds")
    run.stack.cli("settings", "set", *(str(word) for pair in run.plan.settings.items() for word in pair))


def register(run: Run, *, server: str) -> Watch:
    """Import the list of mirrors, write the map, and return who watches them."""
    run.journal.enter("mirrors registered")
    listed = run.folder / "import.json"
    write_import_file(listed, run.sources, server=server)
    added = {row["name"]: row for row in run.stack.cli("mirror", "import", str(listed))}
    lines, paths = [], {}
    for source in run.sources:
        row = added.get(source.mirror_name)
        if row is None:
            raise Failed(f"`mirror import` did not add {source.mirror_name}")
        paths[source.name] = Path(row["repository"])
        entry = {"name": row["name"], "upstream": source.compare_with, "mirror": row["repository"]}
        lines.append(json.dumps(entry | {"expected": source.expected}, ensure_ascii=False) + "\n")
    (run.folder / "map.jsonl").write_text("".join(lines), encoding="utf-8")
    return Watch(paths)


def first_sync(run: Run, watch: Watch) -> None:
    """Wait until every mirror that can be is fresh."""
    run.journal.enter("first imports")

    def seen(source: Source, seconds: float) -> None:
        run.journal.note("fresh", f"{source.mirror_name} is fresh", name=source.mirror_name, seconds=seconds)

    wait = 60 + 1.5 * run.plan.mirrors
    watch.wait(run.fresh, seconds=wait, seen=seen, trouble=lambda pending: _stale(run, pending, seconds=wait))
    if not run.screen.state.statuses:
        raise Failed("the product's /metrics gave no figures")


def positions(run: Run, watch: Watch, pushes: Pushes) -> None:
    """Go through the four positions of both flags; in each, pushed changes must arrive."""
    for number, flags in enumerate(POSITIONS):
        words = " ".join("on" if flag else "off" for flag in flags)
        run.journal.enter(f"flags {words}")
        since = _flip(run, flags)
        before = run.screen.state.imports_ended_well
        reported = run.stack.flags()
        _push_and_wait(run, watch, pushes, rounds_left=len(POSITIONS) - number + 1)
        wanted = min(SUCCESSES_IN_A_POSITION, len(run.fresh))
        imports = _wait_for_imports(run, since=since, before=before, wanted=wanted)
        run.journal.note(
            "flag_position",
            f"flags {words}: {imports} imports ended well",
            flags=flags,
            reported=reported,
            imports=imports,
            since=since,
            settled=since + SETTLING_SECONDS,
            until=time.monotonic(),
        )


def checked(run: Run, watch: Watch, pushes: Pushes) -> None:
    """Have mirrors checked before they are imported: what did not change costs no process, what did arrives."""
    run.journal.enter(f"{CHECKS} on")
    before = run.screen.state.checks.get("unchanged", 0)
    run.stack.cli("feature", "set", CHECKS, "true", "--force")
    since = time.monotonic()
    deadline = since + 60 + 0.5 * run.plan.mirrors
    while run.screen.state.checks.get("unchanged", 0) - before < run.plan.checked:
        if time.monotonic() > deadline:
            raise Failed(f"fewer than {run.plan.checked} checks found nothing new: {run.screen.state.checks}")
        time.sleep(0.2)
    _push_and_wait(run, watch, pushes, rounds_left=1)
    unchanged = run.screen.state.checks.get("unchanged", 0) - before
    text = f"{unchanged} checks found nothing new"
    run.journal.note("checked", text, unchanged=unchanged, since=since, until=time.monotonic())


def _flip(run: Run, flags: tuple[bool, bool]) -> float:
    """Set the flags that differ from what is reported; return when it was done."""
    for name, wanted, now in zip(FLAGS, flags, run.stack.flags(), strict=True):
        if wanted != now:
            run.stack.cli("feature", "set", name, str(wanted).lower(), "--force")
    return time.monotonic()


def _push_and_wait(run: Run, watch: Watch, pushes: Pushes, *, rounds_left: int) -> None:
    pushed = pushes.next(rounds_left=rounds_left)
    for source, push in pushed:
        text = f"pushed to {push.name}: {push.kind} {push.ref.removeprefix('refs/')}"
        run.journal.note("push", text, **(vars(push) | {"name": source.mirror_name}))

    def seen(source: Source, seconds: float) -> None:
        text = f"{source.mirror_name} has it, {seconds:.1f} s later"
        run.journal.note("update_seen", text, name=source.mirror_name, seconds=seconds)

    wait = 45 + 0.5 * run.plan.mirrors
    watch.wait(
        [source for source, _ in pushed],
        seconds=wait,
        seen=seen,
        trouble=lambda pending: "pushed and not mirrored: " + _stale(run, pending, seconds=wait),
    )


def _wait_for_imports(run: Run, *, since: float, before: int, wanted: int) -> int:
    """Wait until the position has lasted long enough and imports have succeeded in it; return how many."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        imports = run.screen.state.imports_ended_well - before
        if time.monotonic() - since > SHORTEST_POSITION_SECONDS and imports >= wanted:
            break
        time.sleep(0.2)
    return run.screen.state.imports_ended_well - before


def clone(run: Run) -> None:
    """Clone some mirrors through the product, the most telling ones first; nothing is pushed after this."""
    telling = sorted(run.fresh, key=lambda source: not (source.made and source.made.shape in TELLING))
    for source in telling[: run.plan.clones]:
        row = run.stack.cli("mirror", "show", source.mirror_name)
        target = run.folder / "clones" / source.name
        command = ["git", "clone", "--mirror", "--quiet", row["clone_url"], str(target)]
        done = subprocess.run(
            command, env=git_facts.ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            raise Failed(f"`git clone {row['clone_url']}` failed: {done.stderr.strip()[-300:]}")
        text = f"cloned {row['clone_url']}"
        run.journal.note("clone", text, name=source.mirror_name, path=target, url=row["clone_url"])


def last_list(run: Run) -> None:
    """Keep the product's own view of its mirrors, once the expected failures have failed."""
    run.journal.enter("last look")
    expected = {source.mirror_name for source in run.sources if source.expected == "failed"}
    deadline = time.monotonic() + 40
    while True:
        rows: list[dict[str, Any]] = run.stack.cli("mirror", "list")
        if all(row["last_error"] for row in rows if row["name"] in expected) or time.monotonic() > deadline:
            break
        time.sleep(1)
    (run.folder / "mirrors.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _stale(run: Run, pending: list[Source], *, seconds: float) -> str:
    """Name the mirrors that are not fresh, with the product's own reason for the first."""
    reason = "no reason given"
    with suppress(Failed):
        row = run.stack.cli("mirror", "explain", pending[0].mirror_name)
        reason = f"{row['status']}: {row.get('last_error') or row.get('explanation') or reason}"
    more = f" and {len(pending) - 1} more" if len(pending) > 1 else ""
    return f"{pending[0].mirror_name}{more} not fresh after {seconds:.0f} s ({reason})"
