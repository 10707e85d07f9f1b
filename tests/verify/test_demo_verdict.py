"""Each planted fault must turn the verdict: a verifier that finds nothing proves nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import fast_import
from tests.verify.demo import judge

Lines = list[dict[str, Any]]
Change = Callable[[str, Callable[[Lines], None]], None]


def mirror_of(folder: Path, name: str) -> Path:
    return next((folder / "state/repositories").glob(f"{name}-*.git"))


def git(folder: Path, name: str, *words: str) -> str:
    return fast_import.run(mirror_of(folder, name), *words)


def failures(folder: Path) -> str:
    verdict = judge(folder)
    assert verdict.line().startswith("demo FAILED: ")
    return "\n".join(verdict.problems)


def test_a_good_run_is_called_good_with_its_figures(left_behind: Path) -> None:
    assert judge(left_behind, seconds=12.3).line() == (
        "demo ok: mirrors=6 fresh=5 failed_as_expected=1 updates_seen=1 clones=1 flag_positions=4"
        " peak=2 cap=2 over_cap=0 seconds=12"
    )


def test_a_dropped_ref_is_found(left_behind: Path) -> None:
    git(left_behind, "unicode", "update-ref", "-d", "refs/heads/größe")

    assert "refs/heads/größe is missing" in failures(left_behind)


def test_a_ref_that_upstream_no_longer_has_is_found(left_behind: Path) -> None:
    git(left_behind, "trunk", "update-ref", "refs/heads/old", "refs/heads/main")

    assert "refs/heads/old is not upstream" in failures(left_behind)


def test_a_ref_that_points_elsewhere_is_found(left_behind: Path) -> None:
    git(left_behind, "trunk", "update-ref", "refs/heads/main", "refs/heads/main~1")

    assert "refs/heads/main differs" in failures(left_behind)


def test_a_pull_request_ref_is_found(left_behind: Path) -> None:
    git(left_behind, "pulls", "update-ref", "refs/pull/1/head", "HEAD")

    assert "refs/pull/1/head should not be there" in failures(left_behind)


def test_a_moved_head_is_found(left_behind: Path) -> None:
    git(left_behind, "trunk", "symbolic-ref", "HEAD", "refs/heads/main")

    assert "HEAD is" in failures(left_behind)


def test_a_head_on_another_branch_of_the_same_commit_is_found(left_behind: Path) -> None:
    branch = git(left_behind, "unicode", "symbolic-ref", "HEAD").strip()
    for side in (left_behind / "upstreams/unicode-001.git", mirror_of(left_behind, "unicode")):
        fast_import.run(side, "update-ref", "refs/heads/twin", branch)
    git(left_behind, "unicode", "symbolic-ref", "HEAD", "refs/heads/twin")

    assert "HEAD names refs/heads/twin" in failures(left_behind)


def test_a_missing_object_is_found(left_behind: Path) -> None:
    objects = mirror_of(left_behind, "tag-only") / "objects"
    blob = git(left_behind, "tag-only", "rev-parse", "refs/tags/v1:only.txt").strip()
    for pack in objects.glob("pack/*.pack"):
        shutil.move(pack, left_behind / "loose.pack")
        fast_import.run(
            mirror_of(left_behind, "tag-only"),
            "unpack-objects",
            "-q",
            content=(left_behind / "loose.pack").read_bytes(),
        )
    (objects / blob[:2] / blob[2:]).unlink()

    assert "fsck" in failures(left_behind)


def test_a_mirror_that_is_not_there_is_found(left_behind: Path) -> None:
    shutil.rmtree(mirror_of(left_behind, "empty"))

    assert "empty-004: not fresh" in failures(left_behind)


def intrude(lines: Lines, **fields: Any) -> None:
    """Start one import more while as many as the cap allows are under way."""
    running: set[int] = set()
    for position, line in enumerate(lines):
        running = running | {line["id"]} if line["event"] == "start" else running - {line["id"]}
        if len(running) == 2:
            extra = {**lines[position], "id": 9999, **fields}
            lines.insert(position + 1, {**extra, "event": "start"})
            lines.insert(position + 2, {**extra, "event": "end"})
            return
    raise AssertionError("the cap was never reached in the run itself")


def test_one_import_too_many_in_the_wrapper_log_is_found(left_behind: Path, change_lines: Change) -> None:
    other = str(mirror_of(left_behind, "empty"))
    change_lines("git.jsonl", lambda lines: intrude(lines, argv=[f"--git-dir={other}", "fetch", "m"]))

    assert "1 moments above the cap of 2 by git processes (peak 3)" in failures(left_behind)


def test_serving_a_clone_is_no_import(left_behind: Path, change_lines: Change) -> None:
    other = str(mirror_of(left_behind, "empty"))
    change_lines("git.jsonl", lambda lines: intrude(lines, argv=["upload-pack", "--stateless-rpc", other]))

    assert judge(left_behind).ok


def test_one_import_too_many_in_the_server_log_is_found(left_behind: Path, change_lines: Change) -> None:
    change_lines("upstream.jsonl", lambda lines: intrude(lines, repository="empty-004", kind="refs"))

    assert "1 moments above the cap of 2 by upstream requests (peak 3)" in failures(left_behind)


def test_one_slot_too_many_in_the_tracker_is_found(left_behind: Path, change_lines: Change) -> None:
    change_lines("samples.jsonl", lambda lines: lines[1].update(slots=3))

    assert "1 moments above the cap of 2 by tracker slots (peak 3)" in failures(left_behind)


def test_a_cap_that_was_never_reached_is_found(left_behind: Path, change_lines: Change) -> None:
    change_lines("samples.jsonl", lambda lines: [line.update(slots=1) for line in lines] and None)

    assert "the cap of 2 was never reached by tracker slots" in failures(left_behind)


def test_two_imports_at_once_into_one_mirror_are_found(left_behind: Path, change_lines: Change) -> None:
    staging = f"{mirror_of(left_behind, 'empty')}/incoming/"

    def plant(lines: Lines) -> None:
        for number in (9998, 9999):
            event = {**lines[0], "id": number, "argv": [f"--git-dir={staging}{number}", "fetch", "m"]}
            lines.append({**event, "event": "start"})

    change_lines("git.jsonl", plant)

    assert "two imports at once into" in failures(left_behind)


def test_a_fetch_that_nobody_recorded_is_found(left_behind: Path, change_lines: Change) -> None:
    def forget_trunk(lines: Lines) -> None:
        lines[:] = [
            line for line in lines if "fetch" not in line.get("argv", ()) or "trunk" not in str(line["argv"])
        ]

    change_lines("git.jsonl", forget_trunk)

    assert "1 fetches were served to git processes that nobody recorded" in failures(left_behind)


def test_an_instrument_that_saw_nothing_is_found(left_behind: Path) -> None:
    (left_behind / "upstream.jsonl").write_text("")

    assert "no request reached the upstream server" in failures(left_behind)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"last_successful_update_at": "2020-01-01T00:00:00Z"}, "it should have failed, and is called fresh"),
        ({"status": "finished"}, "it should have failed, and is called fresh"),
        ({"last_error": ""}, "without one"),
    ],
)
def test_an_expected_failure_that_did_not_fail_is_found(
    fields: dict[str, Any], complaint: str, left_behind: Path
) -> None:
    rows = json.loads((left_behind / "mirrors.json").read_text())
    next(row for row in rows if row["status"] == "failed").update(fields)
    (left_behind / "mirrors.json").write_text(json.dumps(rows))

    assert complaint in failures(left_behind)


def test_a_mirror_that_the_product_does_not_list_is_found(left_behind: Path) -> None:
    rows = json.loads((left_behind / "mirrors.json").read_text())
    (left_behind / "mirrors.json").write_text(json.dumps(rows[1:]))

    assert "is in only one of the map and the product's list" in failures(left_behind)


def test_an_update_that_did_not_arrive_is_found(left_behind: Path) -> None:
    git(left_behind, "pulls", "update-ref", "refs/heads/main", "refs/heads/main~1")

    assert "was pushed upstream (commit) and not seen" in failures(left_behind)


@pytest.mark.parametrize("event", ["push", "update_seen", "clone", "flag_position"])
def test_a_step_that_the_demo_left_out_is_found(event: str, left_behind: Path, change_lines: Change) -> None:
    def leave_out(lines: Lines) -> None:
        lines.remove(next(line for line in lines if line["event"] == event))

    change_lines("events.jsonl", leave_out)

    assert ", expected " in failures(left_behind)


def test_a_clone_that_differs_is_found(left_behind: Path) -> None:
    fast_import.run(left_behind / "clones/trunk", "update-ref", "-d", "refs/heads/main")

    assert "the clone of trunk-002: refs/heads/main is missing" in failures(left_behind)


def test_a_worker_that_still_sees_the_old_flags_is_found(left_behind: Path, change_lines: Change) -> None:
    change_lines("samples.jsonl", lambda lines: lines[2].update(flags={"imports@lab": [True, False]}))

    assert "flags (True, True): worker imports@lab still saw [True, False]" in failures(left_behind)


def test_a_worker_that_never_told_its_flags_is_found(left_behind: Path, change_lines: Change) -> None:
    change_lines("samples.jsonl", lambda lines: lines[2].update(flags={"control@lab": [True, True]}))

    assert "flags (True, True): no imports worker reported the flags it saw" in failures(left_behind)


def test_a_position_without_an_import_is_found(left_behind: Path, change_lines: Change) -> None:
    change_lines("events.jsonl", lambda lines: lines[-1].update(imports=0))

    assert "flags (False, True): no import succeeded in it" in failures(left_behind)


def test_checks_that_nobody_saw_on_the_upstream_are_found(left_behind: Path, change_lines: Change) -> None:
    change_lines("upstream.jsonl", lambda lines: lines.pop())
    change_lines("upstream.jsonl", lambda lines: lines.pop())

    assert "1 checks found nothing new without a git process, expected 2" in failures(left_behind)


def test_checks_that_git_did_are_found(left_behind: Path, change_lines: Change) -> None:
    trunk = f"--git-dir={mirror_of(left_behind, 'trunk')}"
    change_lines(
        "git.jsonl",
        lambda lines: lines.append({**lines[0], "event": "start", "id": 9999, "argv": [trunk, "ls-remote"]}),
    )

    assert "0 checks found nothing new without a git process" in failures(left_behind)


def test_fetches_of_checked_mirrors_count_against_the_cap(left_behind: Path, change_lines: Change) -> None:
    def three_at_once(lines: Lines) -> None:
        last = next(line for line in reversed(lines) if line["event"] == "start")
        names = sorted({line["repository"] for line in lines if line["event"] == "start"})[:3]
        lines += [
            {**last, "id": 20_000 + at, "repository": name, "kind": "fetch"} for at, name in enumerate(names)
        ]

    change_lines("upstream.jsonl", three_at_once)

    assert "moments above the cap of 2 by upstream requests (peak 3)" in failures(left_behind)


def test_a_process_that_outlived_the_stack_is_found(left_behind: Path, change_lines: Change) -> None:
    change_lines(
        "events.jsonl", lambda lines: lines.append({"event": "left_behind", "command": "celery worker"})
    )

    assert "still running after the stop: celery worker" in failures(left_behind)
