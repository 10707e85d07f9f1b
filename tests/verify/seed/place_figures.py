"""Where things ran and what was mirrored there: environments, deploy status, refs, tasks, the clean-up patch."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.verify import git_facts
from tests.verify.seed.evidence import ENVIRONMENTS, FLAGS, Walk

TASKS = ("update_all_mirrors", "project_import_schedule", "update_mirror")
SUITE = ("tests/rules", "tests/tracker/test_slots.py", "tests/models/test_claims.py")
VERDICTS = ("deployed", "absent", "unknown")
SUITE_SECONDS = 600


def environments(walk: Walk) -> int:
    """Count the environments that ran the feature on pages, a database, a Redis and a checkout of their own."""
    feature = walk.plan["feature"]
    ran = {event["environment"]: event for event in walk.noted("deployed") if event["commit"] == feature}
    for what in ("web", "state", "redis"):
        if len({event[what] for event in ran.values()}) != len(ran):
            walk.complain(f"two environments have the same {what}")
    if set(ran) != set(ENVIRONMENTS):
        walk.complain(f"the feature was deployed to {', '.join(sorted(ran)) or 'nothing'} only")
    left = [command for event in walk.noted("stopped") for command in event["left"]]
    if left:
        walk.complain(f"still running after a stop: {left[0][:80]}")
    return len(ran)


def auto_deploy(walk: Walk) -> str:
    """Return the verdicts that were given, each checked with git against what the deployment itself answered."""
    given: set[str] = set()
    for event in walk.noted("status"):
        for name in ENVIRONMENTS:
            said, own = event["said"].get(name), event["revisions"].get(name, "")
            true = _verdict(walk, event["commit"], own)
            if said != true:
                walk.complain(f"auto_deploy status said {said} of {name}, which is {true}")
            given.add(str(said))
    asked = {event["commit"] for event in walk.noted("status")}
    clean = [event["commit"] for event in walk.noted("cleaned")]
    if not {walk.plan["feature"], *clean[-1:]} <= asked or not clean:
        walk.complain("the deploy status of the feature or of the clean-up was not asked")
    return ",".join(verdict for verdict in VERDICTS if verdict in given)


def _verdict(walk: Walk, commit: str, revision: str) -> str:
    if not revision:
        return "unknown"
    words = ("git", "-C", walk.plan["builds"], "merge-base", "--is-ancestor", commit, revision)
    code = subprocess.run(words, capture_output=True, env=git_facts.ENVIRONMENT, check=False).returncode
    return {0: "deployed", 1: "absent"}.get(code, "unknown")


def refs_and_tasks(walk: Walk) -> tuple[int, int]:
    """Return in how many flag positions tasks ended well, and in how many every mirror equalled its upstream."""
    positions, equal = set(), set()
    for look in walk.noted("look"):
        wrong = _unequal(walk, look) + _pushes_missing(walk, look)
        for text in wrong[:2]:
            walk.complain(f"{look['environment']}, {look['what']}: {text}")
        position = tuple(look.get("position", ()))
        if not position:
            continue
        if not wrong:
            equal.add(position)
        idle = _idle_tasks(walk, look)
        if list(look["flags"]) != list(position):
            walk.complain(f"flags {position} were asked for, {look['flags']} reported")
        elif idle:
            walk.complain(f"flags {position}: Flower saw no {idle[0]} end well")
        else:
            positions.add(position)
    looked = {look["environment"] for look in walk.noted("look")}
    if looked != set(ENVIRONMENTS):
        walk.complain(f"refs were not compared in {', '.join(sorted(set(ENVIRONMENTS) - looked))}")
    return len(positions), len(equal)


def _unequal(walk: Walk, look: dict[str, Any]) -> list[str]:
    """Compare what git said of each upstream and of its mirror at that time."""
    seen = walk.seen(look["refs"])
    expected = {event["name"] for event in walk.noted("mirror", environment=look["environment"])}
    wrong = [f"{name} was not looked at" for name in sorted(expected - seen.keys())]
    for name, pair in sorted(seen.items()):
        upstream, mirror = (git_facts.Facts(**pair[side]) for side in ("upstream", "mirror"))
        wrong += [f"{name}: {text}" for text in git_facts.differences(upstream=upstream, mirror=mirror)]
    return wrong


def _pushes_missing(walk: Walk, look: dict[str, Any]) -> list[str]:
    """Find what was pushed before this look and is not in the mirror."""
    last: dict[tuple[str, str], str] = {}
    for event in walk.events:
        if event is look:
            break
        if event["event"] == "push":
            last[event["name"], event["ref"]] = event["target"]
    seen = walk.seen(look["refs"])
    return [
        f"{name}: {ref} was pushed and is not there"
        for (name, ref), target in last.items()
        if name in seen and seen[name]["mirror"]["refs"].get(ref, "") != target
    ]


def _idle_tasks(walk: Walk, look: dict[str, Any]) -> list[str]:
    """Name the tasks of which Flower saw none end well in this position."""
    tasks = walk.seen(look["tasks"]).values()
    ended = {
        str(task["name"]).rpartition(".")[2]
        for task in tasks
        if task.get("state") == "SUCCESS" and look["since"] <= (task.get("started") or 0) <= look["wall"]
    }
    return [name for name in TASKS if name not in ended]


def cleanup_patch(walk: Walk) -> str:
    """Apply the patches to the build, see that no code names a flag, and run the tests that are about it."""
    with tempfile.TemporaryDirectory(prefix="seed-clean-") as folder:
        copy = Path(folder) / "copy"
        words = ["git", "clone", "-q", "--no-checkout", walk.plan["builds"], str(copy)]
        subprocess.run(words, check=True, env=git_facts.ENVIRONMENT)
        _git(copy, "checkout", "-q", walk.plan["feature"])
        for event in walk.noted("cleaned"):
            _git(copy, "apply", str(walk.folder / Path(event["patch"]).name))
        named = _git(copy, "grep", "-l", "-i", "-E", "|".join(FLAGS), "--", "mirroring", "config")
        changelog = (copy / "CHANGELOG.md").read_text()
        if named:
            walk.complain(f"after the clean-up a flag is still named in {named.splitlines()[0]}")
        elif not all(flag in changelog for flag in FLAGS):
            walk.complain("the clean-up left no line in the changelog")
        elif told := _suite_fails(copy, Path(folder) / "state"):
            walk.complain(f"with the clean-up applied: {told}")
        else:
            return "tests_pass"
    return "failed"


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words],
        capture_output=True,
        text=True,
        env=git_facts.ENVIRONMENT,
        check=False,
    )
    return done.stdout if done.returncode == 0 else ""


def _suite_fails(copy: Path, state: Path) -> str:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-n",
            "0",
            f"--basetemp={state}-tests",
            *SUITE,
        ],
        cwd=copy,
        env={**kept, "PYTHONPATH": str(copy), "MIRRORING_STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=SUITE_SECONDS,
        check=False,
    )
    shutil.rmtree(state, ignore_errors=True)
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["it says nothing"]
    return "" if done.returncode == 0 else lines[-1]
