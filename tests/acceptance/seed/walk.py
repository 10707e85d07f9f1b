"""The walk itself: the seed's rollout issue from its first line to its last."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.acceptance.journal import Journal
from tests.acceptance.plan import Failed
from tests.acceptance.processes import Process
from tests.acceptance.seed.company import Walk, company, register, write_chatops_file
from tests.acceptance.seed.operator import Admin, flags, look, wait_for_refs, wait_until
from tests.acceptance.seed.plan import (
    BAKE_SECONDS,
    ENVIRONMENTS,
    FIRST,
    SECOND,
    SLOW_DOOR_SECONDS,
    STABLE_SECONDS,
    Plan,
)
from tests.verify.seed import witness

ATTEMPT_1 = {"MIRRORING_TRACKER_ARM": "count-at-start"}
POSITIONS = ((True, False), (False, False), (True, True), (False, True))
SETTLING_SECONDS = 6.0
BASELINE_SECONDS = 32.0
ROLLOUT_SECONDS = 240.0
PUSHED = 2


def run(plan: Plan, folder: Path, journal: Journal) -> None:
    """Walk; leave the evidence in the folder, and nothing running."""
    with company(plan, folder, journal) as walk:
        deploy_the_feature(walk)
        with recorded(walk, "attempt"):
            refuse_the_second_first(walk)
            try_before_production(walk)
            first_flag_and_failed_attempt(walk)
        journal.enter("the mended build is deployed to production")
        walk.production.deploy(walk.builds.feature, MIRRORING_SCHEDULING_DELAY=str(SLOW_DOOR_SECONDS))
        with recorded(walk, "service"):
            every_position(walk)
            second_flag(walk)
            roll_back_by_hand(walk)
            clean = clean_up(walk)
        release(walk, clean)
    journal.note("over", "everything has stopped")


@contextmanager
def recorded(walk: Walk, name: str) -> Iterator[None]:
    """Have production's Redis listened to as long as the block lasts."""
    log = walk.folder / f"redis-{name}.jsonl"
    words = ("--redis", walk.production.redis_url, "--log", log)
    with Process("tests.verify.seed.recorder", *words, output=walk.folder / "lab.log") as recorder:
        if not recorder.first_line()["ready"]:
            raise Failed("production's Redis cannot be listened to")
        yield


# -- deployed to every environment ----------------------------------------------------------------------------------


def deploy_the_feature(walk: Walk) -> None:
    """Start the four environments on the build before, ask, deploy the feature, and ask again."""
    walk.journal.enter("four environments on the build before the feature")
    deploy(walk, ENVIRONMENTS, walk.builds.before)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: register(walk, name), ENVIRONMENTS))
    write_chatops_file(walk)
    ask_what_runs_where(walk, walk.builds.feature)
    walk.journal.enter("the feature is deployed")
    walk.environments["canary"].stop()
    deploy(walk, ENVIRONMENTS[:2], walk.builds.feature)
    ask_what_runs_where(walk, walk.builds.feature)
    deploy(walk, ("canary",), walk.builds.feature)
    # What production gets first is the attempt that failed elsewhere: its tracker counts jobs that have started.
    walk.production.deploy(walk.builds.feature, **ATTEMPT_1)
    ask_what_runs_where(walk, walk.builds.feature)


def deploy(walk: Walk, names: Sequence[str], commit: str) -> None:
    """Deploy a commit to several environments at once."""
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: walk.environments[name].deploy(commit), names))


def ask_what_runs_where(walk: Walk, commit: str) -> None:
    """Ask for the deploy status of a commit, and each deployment itself."""
    [answer] = walk.production.chatops("auto_deploy", "status", commit)
    said = {each["environment"]: each["verdict"] for each in answer["data"]}
    revisions = witness.revisions({name: each.web for name, each in walk.environments.items()})
    walk.journal.note("status", commit=commit, said=said, revisions=revisions)


# -- non-production -------------------------------------------------------------------------------------------------


def refuse_the_second_first(walk: Walk) -> None:
    """Ask for the second flag before the first: it must be refused, with the reason."""
    walk.journal.enter("the second flag is asked for before the first")
    [answer] = walk.production.chatops("feature", "set", SECOND, "true", "--why", "a try", may_refuse=True)
    seen = flags(walk.production)
    walk.journal.note("out_of_order", ok=answer["ok"], said=answer["text"], flags=seen)


def try_before_production(walk: Walk) -> None:
    """Turn both flags on in dev and staging, see that mirroring works, and go on to canary."""
    for names, what in ((("dev", "staging"), "qa"), (("canary",), "canary")):
        walk.journal.enter(f"both flags on in {' and '.join(names)}")
        for flag in (FIRST, SECOND):
            walk.production.chatops(
                "feature", "set", flag, "true", "--why", "QA", *(f"--{name}" for name in names)
            )
            time.sleep(STABLE_SECONDS + 0.5)
        for number, name in enumerate(names):
            pushed = [push.name for push in walk.push(name, 1, seed=number + len(what))]
            wait_for_refs(walk, name, [*pushed, *walk.mirrors[name]], seconds=walk.plan.refs_seconds)
            look(walk, name, what=what, since=0.0, flags=flags(walk.environments[name]))
    tick(walk, "qa_result", "refs were equal in dev and in staging")


def tick(walk: Walk, item: str, evidence: str) -> None:
    """Tick what only a person can."""
    words = ("feature", "plan", SECOND, "tick", item, "--by", "the walker", "--evidence", evidence)
    walk.production.manage(*words)


# -- production -----------------------------------------------------------------------------------------------------


def first_flag_and_failed_attempt(walk: Walk) -> None:
    """Roll the first flag out; then the second with the tracker that counts wrongly, which must be rolled back."""
    walk.journal.enter("preparation: change, cover, documentation, announcements")
    tick(walk, "change_issue", "none is needed: a rehearsal")
    tick(walk, "cover", "the walker, at the keyboard")
    announce(walk)
    walk.journal.enter("guarded rollout of the first flag in production")
    grow_baseline(walk, FIRST)
    roll_out(walk, FIRST, ends_as="done")
    walk.journal.enter("guarded rollout of the attempt that counts at start")
    grow_baseline(walk, SECOND)
    roll_out(walk, SECOND, ends_as="rolled back")
    wait_until(
        "every process sees it off", lambda: rollout(walk, SECOND).get("confirmed_at"), seconds=30, pause=1
    )


def announce(walk: Walk) -> None:
    """Tell the team, production and support when to expect both flags; keep what reached Slack."""
    expected = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(time.time() + 3600))
    for flag in (FIRST, SECOND):
        walk.production.chatops("feature", "announce", flag, "--at", expected)
    tick(walk, "announced_issue", expected)
    walk.journal.note("announced", expected=expected, posted=walk.slack.posted)


def grow_baseline(walk: Walk, flag: str) -> None:
    """Let samples gather that a rollout can be compared with: none from before the last change of its flag."""
    walk.production.chatops("feature", "set", flag, "false")
    time.sleep(BASELINE_SECONDS)


def roll_out(walk: Walk, flag: str, *, ends_as: str) -> None:
    """Start a guarded rollout in production and wait for its end."""
    bake = f"{BAKE_SECONDS}s"
    walk.production.chatops("feature", "rollout", "start", flag, "--steps", "here", "--interval", bake)
    over = {"done", "rolled back", "aborted", "lapsed"}
    found = wait_until(
        f"the rollout of {flag} is over",
        lambda: (now := rollout(walk, flag)).get("state") in over and now,
        seconds=ROLLOUT_SECONDS,
        pause=1,
    )
    walk.journal.note(
        "rollout", f"rollout of {flag}: {found['state']}: {found.get('why')}", flag=flag, found=found
    )
    if found["state"] != ends_as:
        raise Failed(
            f"the rollout of {flag} was to end as {ends_as}, and is {found['state']}: {found['why']}"
        )


def rollout(walk: Walk, flag: str) -> dict[str, Any]:
    """Ask production's API where the latest rollout of a flag stands."""
    if "production" not in walk.tokens:
        issued = walk.production.manage("token", "issue", "walk", "--scope", "read_flags")
        walk.tokens["production"] = issued.stdout.strip()
    answer = requests.get(
        f"{walk.production.web}/api/flags/{flag}/rollout",
        headers={"PRIVATE-TOKEN": walk.tokens["production"]},
        timeout=30,
    )
    found: dict[str, Any] = answer.json() or {}
    return found.get("rollout", found) or {}


def every_position(walk: Walk) -> None:
    """Bring the flags into each of their four positions by the admin's forms; in each, mirroring must go on."""
    admin, now = Admin(walk.production), (True, False)
    for number, position in enumerate(POSITIONS):
        words = " ".join("on" if each else "off" for each in position)
        walk.journal.enter(f"flags {words}, by the admin's forms")
        since = time.time()
        now = turn(admin, now, position)
        show_that_it_mirrors(walk, position, number=number, since=since)
        if position == (False, False):
            measure(walk, "off")
    turn(admin, now, (True, False))


def turn(admin: Admin, now: tuple[bool, bool], wanted: tuple[bool, bool]) -> tuple[bool, bool]:
    """Flip the flags that differ."""
    for flag, before, after in zip((FIRST, SECOND), now, wanted, strict=True):
        if before != after:
            admin.turn(flag, on=after)
    return wanted


def show_that_it_mirrors(walk: Walk, position: tuple[bool, bool], *, number: int, since: float) -> None:
    """Push, and wait until every mirror equals its upstream; keep what git and Flower say."""
    reported = flags(walk.production)
    pushed = [push.name for push in walk.push("production", PUSHED, seed=100 + number)]
    hasten(walk, pushed)
    wait_for_refs(walk, "production", [*pushed, *walk.mirrors["production"]], seconds=walk.plan.refs_seconds)
    what = "position-" + "".join("1" if each else "0" for each in position)
    look(walk, "production", what=what, since=since, flags=reported, position=position)


def hasten(walk: Walk, names: Sequence[str]) -> None:
    """Have production import some mirrors before its backlog."""
    for name in names:
        walk.production.manage("mirror", "sync", f"seed/{name}")


def measure(walk: Walk, arm: str) -> None:
    """Let the service run undisturbed while its Redis is listened to."""
    time.sleep(SETTLING_SECONDS)
    walk.journal.enter(f"measuring, flags {arm}")
    begin = time.time()
    time.sleep(walk.plan.seconds)
    walk.journal.note("window", arm=arm, begin=begin, end=time.time())


def second_flag(walk: Walk) -> None:
    """Roll the second flag out, with the tracker that counts from before a job is enqueued."""
    walk.journal.enter("guarded rollout of the second flag in production")
    grow_baseline(walk, SECOND)
    roll_out(walk, SECOND, ends_as="done")
    measure(walk, "on")


def roll_back_by_hand(walk: Walk) -> None:
    """Turn it off with the command of the issue's last line, and on again: it was well."""
    walk.journal.enter("rolled back by hand")
    walk.production.chatops("feature", "set", SECOND, "false")
    time.sleep(SETTLING_SECONDS)
    walk.journal.note("by_hand", flags=flags(walk.production))
    walk.production.chatops("feature", "set", SECOND, "true", "--why", "it was well")
    time.sleep(SETTLING_SECONDS)


# -- released -------------------------------------------------------------------------------------------------------


def clean_up(walk: Walk) -> str:
    """Have the product take both flags out of the code, the one that is required first; return the commit."""
    walk.journal.enter("clean-up")
    commit = walk.builds.feature
    for flag in (FIRST, SECOND):
        patch = walk.folder / f"{flag}.patch"
        words = ("feature", "cleanup", flag, "--patch", str(patch))
        walk.production.manage(*words, folder=walk.builds.path)
        walk.builds.git("apply", str(patch))
        commit = walk.builds.commit(f"Remove the feature flag {flag}")
        walk.journal.note(
            "cleaned", f"{flag} is out of the code: {commit[:10]}", flag=flag, commit=commit, patch=str(patch)
        )
    return commit


def release(walk: Walk, clean: str) -> None:
    """Deploy the clean-up to canary and production, and delete the flags from all environments."""
    walk.journal.enter("the clean-up is deployed to canary and production")
    deploy(walk, ("canary", "production"), clean)
    ask_what_runs_where(walk, clean)
    tick(walk, "cleanup_deployed", f"auto_deploy status {clean[:12]}")
    tick(walk, "feature_closed", "there is none in a rehearsal")
    walk.journal.enter("the flags are deleted from all environments")
    for flag in (SECOND, FIRST):
        walk.production.chatops("feature", "delete", flag, *(f"--{name}" for name in ENVIRONMENTS))
    pushed = [push.name for push in walk.push("production", PUSHED, seed=200)]
    hasten(walk, pushed)
    wait_for_refs(walk, "production", pushed, seconds=walk.plan.refs_seconds)
    tick(walk, "issue_closed", "the last line of the walk")
