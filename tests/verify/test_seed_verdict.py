"""Each planted fault must turn the verdict on a walk: a verifier that finds nothing proves nothing."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.verify.seed.evidence import FIRST, SECOND
from tests.verify.seed.judge import judge
from tests.verify.seed.recorder import decode
from tests.verify.seed_story import Builds, Story, T, make_builds, stamp

Change = Callable[[Story], Any]


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Builds:
    return make_builds(tmp_path_factory.mktemp("builds"))


@pytest.fixture
def story(tmp_path: Path, builds: Builds) -> Story:
    return Story(tmp_path, builds)


def test_a_good_walk_is_called_good_with_its_figures(story: Story) -> None:
    verdict = judge(story.write())

    assert verdict.problems == []
    assert re.fullmatch(
        "seed ok: environments=4 flag_positions=4 refs_equal=4 promoted=2 refused=1 rolled_back=1 rollback_s=1.2 "
        r"propagation_ms=\d+ redis_round_trips_ratio=0.75 redis_calls_ratio=1.01 redis_peak_ratio=1.01 "
        r"over_scheduled_off=\d+ over_scheduled_on=0 auto_deploy=deployed,absent,unknown "
        "cleanup_patch=tests_pass deleted_from=4 human_items=10",
        verdict.line(),
    )
    assert int(verdict.figures["over_scheduled_off"]) > 0
    assert "round trips" in verdict.details["redis"][0]


def of(story: Story, event: str, **fields: object) -> dict[str, Any]:
    """Return the last event of a name that has these fields."""
    found = [
        each
        for each in story.events
        if each["event"] == event and all(each.get(key) == value for key, value in fields.items())
    ]
    return found[-1]


def rows(story: Story, table: str, environment: str = "production") -> list[list[Any]]:
    return [values for name, values in story.databases[environment] if name == table]


def drop(story: Story, table: str, *, at: int = 0, environment: str = "production") -> None:
    chosen = rows(story, table, environment)[at]
    story.databases[environment] = [each for each in story.databases[environment] if each[1] is not chosen]


def busy(story: Story, *, what: str, more: int, since: float = 300, until: float = 340) -> None:
    """Have the server do more in a window."""
    added = 0
    for event in sorted(story.redis["service"], key=lambda event: event["t"]):
        if event["e"] == "done":
            if T + since < event["t"] <= T + until:
                added += more
            event[what] += added


def beyond(story: Story) -> None:
    story.redis["service"] += [
        {"t": T + 310.15, "e": "enqueued", "token": f"{number}:7"} for number in range(4)
    ]


def stale_worker(story: Story) -> None:
    """Have one worker never say that it sees the second flag off."""
    for note in story.redis["attempt"]:
        if note["worker"] == "imports@a" and note["t"] > T + 31:
            note["flags"] = {FIRST: True, SECOND: True}


def late_worker(story: Story) -> None:
    for note in story.redis["attempt"]:
        if T + 40 <= note["t"] < T + 47:
            note["flags"] = {FIRST: True, SECOND: True}


BREAKING = """--- a/tests/rules/test_it.py
+++ b/tests/rules/test_it.py
@@ -1,2 +1,2 @@
 def test_it() -> None:
-    assert True
+    assert False
"""

FAULTS: dict[str, tuple[Change, str]] = {
    "it did not end": (lambda story: story.events.remove(of(story, "over")), "did not come to its end"),
    "an environment is missing": (
        lambda story: story.events.remove(of(story, "deployed", environment="canary")),
        "environments=3",
    ),
    "two share a Redis": (
        lambda story: of(story, "deployed", environment="dev").update(redis="unix:///staging"),
        "have the same redis",
    ),
    "a process was left": (
        lambda story: of(story, "stopped", environment="dev").update(left=["celery worker"]),
        "still running after a stop",
    ),
    "the status lies": (
        lambda story: of(story, "status")["said"].update(dev="deployed"),
        "said deployed of dev, which is absent",
    ),
    "unknown was never said": (
        lambda story: story.events.remove(
            next(
                event
                for event in story.events
                if event["event"] == "status" and "" in event["revisions"].values()
            )
        ),
        "auto_deploy=deployed,absent,",
    ),
    "a ref differs": (
        lambda story: story.seen["position-2-production-refs.json"]["m"]["mirror"]["refs"].update(
            {"refs/heads/main": "b" * 40}
        ),
        "refs/heads/main differs",
    ),
    "a ref is too many": (
        lambda story: story.seen["qa-dev-refs.json"]["m"]["mirror"]["refs"].update({"refs/pull/1/head": "b"}),
        "should not be there",
    ),
    "a push never came, in neither": (
        lambda story: of(story, "push").update(target="c" * 40),
        "was pushed and is not there",
    ),
    "a position without an import": (
        lambda story: story.seen["position-1-production-tasks.json"]["update_mirror"].update(state="FAILURE"),
        "Flower saw no update_mirror end well",
    ),
    "a task of another position": (
        lambda story: story.seen["position-1-production-tasks.json"]["update_mirror"].update(started=T),
        "Flower saw no update_mirror end well",
    ),
    "the flags were otherwise": (
        lambda story: of(story, "look", what="position-3").update(flags=(True, True)),
        "flags (False, True) were asked for",
    ),
    "the refusal was none": (lambda story: of(story, "out_of_order").update(ok=True), "was not refused"),
    "refused and yet on": (
        lambda story: of(story, "out_of_order").update(flags=[False, True]),
        "has turned a flag on",
    ),
    "the second was on first": (
        lambda story: rows(story, "flagchange")[1].__setitem__(1, stamp(5)),
        "the second flag is on before the first",
    ),
    "promoted in the wrong order": (
        lambda story: [
            row.__setitem__(1, SECOND if row[1] == FIRST else FIRST) for row in rows(story, "rollout")
        ],
        "expected both flags in order",
    ),
    "promoted with a red guard": (
        lambda story: rows(story, "rollout")[2].__setitem__(7, '[{"metric": "x", "verdict": "bad"}]'),
        "without every guard being good",
    ),
    "nothing was rolled back": (lambda story: drop(story, "rollout", at=1), "rolled_back=0"),
    "rolled back for something else": (
        lambda story: rows(story, "rollout")[1].__setitem__(
            7, '[{"metric": "lag_seconds", "verdict": "bad"}]'
        ),
        "not for over-scheduling",
    ),
    "a breach without a sample": (
        lambda story: drop(story, "metricsample"),
        "no sample stands behind",
    ),
    "a rollback that took long": (late_worker, "the rollback took"),
    "a process that never saw it off": (stale_worker, "not every process said"),
    "too many round trips": (lambda story: busy(story, what="reads", more=20), "redis_round_trips_ratio="),
    "too many calls": (lambda story: busy(story, what="calls", more=20), "redis_calls_ratio="),
    "an unexpected peak": (
        lambda story: busy(story, what="calls", more=100, since=310, until=311),
        "redis_peak_ratio=",
    ),
    "a window cut short": (
        lambda story: of(story, "window", arm="on").update(end=T + 310),
        "too few to judge",
    ),
    "jobs beyond the capacity with the flags on": (beyond, "jobs were scheduled beyond the capacity"),
    "a queue that was not slow": (
        lambda story: of(story, "window", arm="off").update(begin=T + 345, end=T + 385),
        "the queue was not slow",
    ),
    "a patch that leaves a name": (
        lambda story: story.patches.update({SECOND: ""}),
        "is still named in",
    ),
    "a patch that breaks the tests": (
        lambda story: story.patches.update({SECOND: story.patches[SECOND] + BREAKING}),
        "with the clean-up applied: 1 failed",
    ),
    "a row that was left": (
        lambda story: story.databases["canary"].append(("flag", [SECOND])),
        "canary: not deleted",
    ),
    "a flag that nobody deleted": (
        lambda story: drop(story, "flagchange", at=-1, environment="dev"),
        "dev: not deleted",
    ),
    "an entry cut out of the audit": (
        lambda story: drop(story, "flagchange", at=3, environment="staging"),
        "the chain of the audit is broken",
    ),
    "a channel that was not told": (
        lambda story: of(story, "announced")["posted"].pop(),
        f"{SECOND} was announced in 2 of 3 channels",
    ),
    "an announcement that came late": (
        lambda story: of(story, "announced").update(wall=T + 15),
        f"{FIRST} was announced in 0 of 3 channels",
    ),
    "an item that nobody ticked": (lambda story: drop(story, "plantick"), "only 9 of 10 items"),
    "an item ticked by nobody": (
        lambda story: rows(story, "plantick")[0].__setitem__(2, ""),
        "only 9 of 10 items",
    ),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.replace(" ", "-"))
def test_a_planted_fault_turns_the_verdict(fault: str, story: Story) -> None:
    plant, complaint = FAULTS[fault]
    plant(story)

    verdict = judge(story.write())

    assert verdict.line().startswith("seed FAILED: ")
    assert any(complaint in problem for problem in verdict.problems), verdict.problems


@pytest.mark.parametrize(
    ("command", "by_script", "meant"),
    [
        (
            'LPUSH mirroring:scheduling {"body": "W1s3LCAzXSwge30sIHt9XQ==", "headers": {}}',
            False,
            [{"e": "enqueued", "token": "7:3"}],
        ),
        ('LPUSH mirroring:imports {"body": "W1s3LCAzXSwge30sIHt9XQ=="}', False, []),
        ("ZREM {mirroring}:processing 7:3", True, [{"e": "handed_over", "token": "7:3"}]),
        ("ZADD {mirroring}:importing 17900 7:3", True, [{"e": "slot", "token": "7:3"}]),
        (
            "ZADD {mirroring}:importing XX 17900 7:3 17900 8:1",
            True,
            [{"e": "slot", "token": "7:3"}, {"e": "slot", "token": "8:1"}],
        ),
        (
            "ZREM {mirroring}:importing 7:3 8:1",
            True,
            [{"e": "freed", "token": "7:3"}, {"e": "freed", "token": "8:1"}],
        ),
        (
            'HSET {mirroring}:notes beat@a {"flags": {"x": true}}',
            True,
            [{"e": "note", "worker": "beat@a", "flags": {"x": True}}],
        ),
        ("GET {mirroring}:ready", True, []),
    ],
)
def test_what_redis_is_asked_is_understood(
    command: str, by_script: bool, meant: list[dict[str, Any]]
) -> None:
    assert list(decode(command, by_script=by_script)) == meant
