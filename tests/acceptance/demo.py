"""`make demo`: sixty repositories, mirrored by the whole real stack under a held cap, and verified.

    python -m tests.acceptance.demo        DEMO_MIRRORS=60 DEMO_CAP=8 SEED=1 KEEP=1 MIRRORS=file

It makes upstream repositories from SEED, serves them with `git http-backend`, starts `manage.py up` and uses it
as a person would: by its command line and its pages. Three upstreams misbehave (one wants a password and gets
none, one is gone, one never answers) and must be shown as failed. While it runs, changes are pushed to ten
upstreams, both feature flags go through their four positions, and three mirrors are cloned. Then the stack is
stopped and tests/verify/demo.py, which shares no code with the product, judges what is on disk and in the logs
of three instruments. The last line is its verdict; the exit code is 0 or 1.

KEEP=1 leaves everything in place and prints `kept: map=FILE`.

MIRRORS=file mirrors the repositories of a list instead: URLs (used as they are) and paths of local repositories
(served, read-only, by our server), one a line, as CSV with a column `url`, or as a JSON list. They belong to
somebody, so nothing is pushed to them: updates_seen=0, and in each flag position imports must go on to end well.
Each is expected to be fresh, except those which plain git cannot read either; these must be shown as failed.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from tests.acceptance import processes, steps, upstreams
from tests.acceptance.journal import Journal
from tests.acceptance.plan import POSITIONS, Failed, Plan, read_plan
from tests.acceptance.processes import Process
from tests.acceptance.screen import Screen
from tests.acceptance.stack import Stack
from tests.acceptance.upstreams import Pushes, Source
from tests.verify import demo as verifier
from tests.verify.samples import Sampler


def main() -> int:
    """Run the demo; return the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    begin = time.monotonic()
    try:
        plan = read_plan(os.environ)
        processes.check_tools()
    except Failed as error:
        print(f"demo FAILED: {error}")
        return 1
    folder = Path(tempfile.mkdtemp(prefix="mirroring-demo-"))
    try:
        ok, line = _run_and_judge(plan, folder, begin=begin)
    except KeyboardInterrupt:
        ok, line = False, "demo FAILED: interrupted"
    _keep_or_remove(plan, folder, ok=ok)
    print(line, flush=True)
    return 0 if ok else 1


def _run_and_judge(plan: Plan, folder: Path, *, begin: float) -> tuple[bool, str]:
    journal = Journal(folder / "events.jsonl")
    try:
        run_demo(plan, folder, journal)
        print("comparing every mirror with its upstream ...", flush=True)
        verdict = verifier.judge(folder)
        verdict.figures["seconds"] = round(time.monotonic() - begin)
    except Failed as error:
        journal.note("failed", reason=str(error))
        return False, "demo FAILED: " + " ".join(str(error).split())
    finally:
        journal.close()
    for problem in verdict.problems:
        print(f"  {problem}")
    return verdict.ok, verdict.line()


def run_demo(plan: Plan, folder: Path, journal: Journal) -> None:
    """Do everything but the judging; leave the evidence in the folder, and nothing running."""
    print(f"making {plan.mirrors} upstream repositories in {folder}", flush=True)
    sources = upstreams.take(plan) if plan.given else upstreams.make(plan, folder / "upstreams")
    journal.note("upstreams", f"{len(sources)} upstream repositories", seconds=journal.seconds())
    _write_plan(plan, folder, sources)
    with ExitStack() as running:
        server = running.enter_context(_upstream_server(plan, folder, sources)).first_line()["url"]
        recorder = Process("tests.verify.recorder", "--log", folder / "git.jsonl", output=folder / "lab.log")
        git = running.enter_context(recorder).first_line()["git"]
        print("starting the stack (manage.py up)", flush=True)
        stack = running.enter_context(Stack(folder, plan, journal, git=git))
        redis_url = stack.wait_until_up()
        running.enter_context(Sampler(folder / "samples.jsonl", redis_url=redis_url))
        screen = running.enter_context(Screen(plan, journal, metrics=lambda: stack.get("/metrics")))
        run = steps.Run(plan, folder, sources, stack, journal, screen)
        steps.configure(run)
        watch = steps.register(run, server=server)
        steps.first_sync(run, watch)
        pushes = Pushes(plan, sources)
        steps.positions(run, watch, pushes)
        steps.checked(run, watch, pushes)
        steps.clone(run)
        steps.last_list(run)
        journal.enter("stopping")


def _upstream_server(plan: Plan, folder: Path, sources: list[Source]) -> Process:
    file = folder / "served.json"
    upstreams.write_server_file(file, sources)
    words = ("--repositories", file, "--log", folder / "upstream.jsonl", "--delay", str(plan.upstream_delay))
    return Process("tests.lab.http_server", *words, output=folder / "lab.log")


def _write_plan(plan: Plan, folder: Path, sources: list[Source]) -> None:
    record = {
        "mirrors": plan.mirrors,
        "cap": plan.cap,
        "seed": plan.seed,
        "updates_seen": plan.updates,
        "clones": min(plan.clones, sum(source.expected == "fresh" for source in sources)),
        "flag_positions": len(POSITIONS),
        "checked": plan.checked,
        "reach_cap": plan.reaches_cap,
        "workers": ["checks", "control", "imports", "scheduling"],
        "served": {source.mirror_name: source.name for source in sources if source.served},
    }
    (folder / "plan.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


def _keep_or_remove(plan: Plan, folder: Path, *, ok: bool) -> None:
    if plan.keep:
        print(f"kept: map={folder / 'map.jsonl'}")
    elif ok:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"what happened is in {folder}")


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
