"""One run: warm up, let everything go wrong, let it come to rest, kill all, and leave the evidence in a folder."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from random import Random

from tests.acceptance.chaos import faults, kills, proc
from tests.acceptance.chaos.company import Company, explain_all, quietly, wait_for
from tests.acceptance.chaos.faults import Faults
from tests.acceptance.chaos.kills import Killer
from tests.acceptance.chaos.naive_arm import run_naive
from tests.acceptance.chaos.plan import CHECKS, Plan
from tests.acceptance.chaos.world import World, world
from tests.acceptance.journal import Journal
from tests.acceptance.plan import Failed
from tests.acceptance.processes import Process
from tests.verify.watch.rows import Tables, write_attempts

WARM_UP_SECONDS = 150
HANGING_SECONDS = 3.0
OVERTIME = 0.8
"""By this share of the planned time faults may go on, and imports may be waited for."""


def run(plan: Plan, folder: Path, journal: Journal) -> None:
    """Go through one run."""
    told = asdict(plan) | {name: getattr(plan, name) for name in ("cap", "lease", "tick", "delay", "imports")}
    told |= {"least_kills": plan.least_kills, "least_hits": plan.least_hits, "slots": plan.slots}
    told |= {"fetch_timeout": plan.settings["fetch_timeout_seconds"]}
    (folder / "plan.json").write_text(json.dumps(told, default=str))
    journal.enter("making upstreams, stores and mirrors")
    with world(plan, folder, journal) as found:
        write_watch_list(found)
        with Process("tests.verify.watch", folder, output=folder / "watch.log") as watch:
            watch.first_line()
            go_through(found)
        run_naive(found)
        write_attempts(folder / "attempts.jsonl", _attempts(found))


def write_watch_list(found: World) -> None:
    """Tell the instruments what to watch."""
    told = {"redis_url": found.redis.url, "database_url": found.database.url, "mirrors": found.mirrors}
    (found.folder / "watch.json").write_text(json.dumps(told))


def go_through(found: World) -> None:
    """Warm up, disturb, quieten, and end."""
    plan, journal = found.plan, found.journal
    journal.enter("first imports")
    found.fleet.start()
    wait_for(
        "the first import of every mirror",
        lambda: quietly(lambda: len({row[0] for row in _ended(found)})) >= plan.mirrors,
        seconds=WARM_UP_SECONDS,
    )
    trouble = Faults(found, Random(f"{plan.seed}/faults"), Killer(found, Random(f"{plan.seed}/hangs")))
    with Company(found, trouble, Random(f"{plan.seed}/company")) as company:
        journal.enter("everything goes wrong")
        disturb(found, trouble)
        journal.enter("imports go on")
        # What is still missing is awaited without faults; the quiet part brings some as well.
        missing = plan.delay * plan.rate
        wait_for(
            f"{plan.imports} imports",
            lambda: quietly(lambda: len(_ended(found))) >= plan.imports - missing,
            seconds=plan.seconds * OVERTIME,
        )
        company.stop_pushing()
        if plan.checks:  # From now on every mirror is imported again, also those that wait for a check.
            found.fleet.manage("feature", "set", CHECKS, "false")
        journal.enter("quiet")
        time.sleep(plan.delay + 2 + plan.lease + 2 * plan.tick + 4)
    explain_all(found)
    journal.enter("the end")
    kill_everything(found)


def disturb(found: World, trouble: Faults) -> None:
    """Send kills from one thread and make all other faults in another, each in its own random order."""
    plan, end = found.plan, time.monotonic() + found.plan.seconds
    rng = Random(f"{plan.seed}/order")
    kinds = kills.drawn(rng, plan.kills), faults.drawn(rng, plan.share)
    killer = Killer(found, Random(f"{plan.seed}/kills"))
    lanes = [
        threading.Thread(
            target=_lane,
            daemon=True,
            args=(drawn, act),
            kwargs={"end": end, "rng": Random(f"{plan.seed}/{name}"), "journal": found.journal}
            | {"short": plan.share < 1 and name == "faults"},
        )
        for name, drawn, act in (("kills", kinds[0], killer.kill), ("faults", kinds[1], trouble.make))
    ]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join(plan.seconds * (1 + OVERTIME))
        if lane.is_alive():
            raise Failed("the faults did not come to an end")


def _lane(
    kinds: list[str], act: Callable[[str], None], *, end: float, rng: Random, journal: Journal, short: bool
) -> None:
    """Do all of them, at random distances that use up the time; in a short run as many as fit."""
    for number, kind in enumerate(kinds):
        left = max(0.0, end - time.monotonic())
        if not left and short:
            return
        time.sleep(min(left, rng.uniform(0, 2 * left / (len(kinds) - number + 1))))
        try:
            act(kind)
        except Exception as error:
            journal.note("fault_failed", f"{kind}: {error}", kind=kind, error=repr(error))


def kill_everything(found: World) -> None:
    """Kill the whole product while its git hangs, and list what is left of it after a lease."""
    found.behave({each.name: "hang" for each in found.upstreams})
    time.sleep(HANGING_SECONDS)
    found.fleet.kill_all()
    found.journal.note("end_of_product", pids=sorted(found.fleet.every_pid))
    time.sleep(found.plan.lease + 1)
    for process in proc.of_run(str(found.state), f"{found.url}/"):
        found.journal.note("left_behind", pid=process.pid, command=" ".join(process.argv)[:300])
    finals = {each.name: each.version for each in found.upstreams}
    (found.folder / "end.json").write_text(json.dumps({"versions": finals, "mirrors": found.mirrors}))


def _ended(found: World) -> list[list[object]]:
    with Tables(found.database.url) as tables:
        return tables.rows(
            "SELECT mirror_id, epoch FROM mirroring_importattempt WHERE outcome IN ('changed', 'unchanged')"
        )


def _attempts(found: World) -> list[list[object]]:
    with Tables(found.database.url) as tables:
        return tables.attempts()
