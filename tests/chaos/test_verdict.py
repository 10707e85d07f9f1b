"""The verifier of the chaos finds each fault that is planted in a good run, and nothing in the good run itself."""

import copy
import functools
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.chaos import story
from tests.chaos.story import BEGIN, END, LEASE, Line
from tests.verify.chaos import Verdict, judge

Plant = Callable[[dict[str, list[Line]]], None]


@functools.cache
def good_story() -> story.Story:
    return story.tell()


@pytest.fixture
def verdict_with(tmp_path: Path) -> Callable[[Plant], Verdict]:
    """Return a function that plants a fault in the good run and judges it."""

    def plant_and_judge(plant: Plant) -> Verdict:
        told = copy.deepcopy(good_story())
        plant(told.files)
        told.write(tmp_path / "run")
        return judge(tmp_path / "run")

    return plant_and_judge


def figures(**expected: int) -> dict[str, int]:
    zero = ("lost", "stuck", "double_writers", "over_cap", "leaked_slots", "orphans", "torn_refs")
    return dict.fromkeys(zero, 0) | expected


def assert_found(verdict: Verdict, name: str) -> None:
    assert not verdict.ok
    assert verdict.line().startswith("chaos FAILED: ")
    assert verdict.figures[name]
    # Nothing else is blamed, so each figure measures one thing.
    others = {other: verdict.figures[other] for other in figures() if other != name}
    assert others == dict.fromkeys(others, 0)


def test_a_good_run_is_good_and_says_so_in_one_line(verdict_with):
    verdict = verdict_with(lambda files: None)

    assert verdict.problems == []
    line = verdict.line()
    assert line.startswith("chaos ok: kills=1 mirrors=3 imports=")
    assert "lost=0 stuck=0 double_writers=0 over_cap=0 leaked_slots=0 orphans=0 torn_refs=0" in line
    assert "recovery_bound_s=22 naive_lost=3 naive_leaked=4" in line


def freeze(files: dict[str, list[Line]], mirror: int, *, after: float, until: float = END + 9) -> None:
    """Let nothing happen to a mirror for a while, by every instrument; what had begun is over."""
    for line in files["rows.jsonl"]:
        if after < line["at"] < until:
            line["changed"] = [row for row in line["changed"] if row[0] != mirror]
    files["attempts.jsonl"] = [
        line
        for line in files["attempts.jsonl"]
        if line["mirror_id"] != mirror or not after - 0.1 < line["started_at"] < until
    ]
    files["refs.jsonl"] = [
        line for line in files["refs.jsonl"] if line.get("mirror") != mirror or not after < line["at"] < until
    ]
    for line in files["pools.jsonl"]:
        if after + 0.5 < line["at"] < until:
            line["importing"] = [token for token in line["importing"] if not token.startswith(f"{mirror}:")]


def changed(files: dict[str, list[Line]], mirror: int, *, after: float, claimed: bool) -> float:
    """Return a moment at which a mirror has just come to rest, or has just been claimed."""
    return next(
        line["at"]
        for line in files["rows.jsonl"]
        if line["at"] > after
        and any(row[0] == mirror and (row[7] is not None) == claimed for row in line["changed"])
    )


def test_a_mirror_that_is_due_and_never_taken_again_is_lost(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        freeze(files, 3, after=changed(files, 3, after=BEGIN + 15, claimed=False))

    assert_found(verdict_with(plant), "lost")


@pytest.mark.parametrize("claimed", [False, True], ids=["due", "claim ran out"])
def test_a_mirror_that_was_passed_by_for_too_long_is_lost_also_if_it_runs_again_later(verdict_with, claimed):
    def plant(files: dict[str, list[Line]]) -> None:
        moment = changed(files, 1, after=BEGIN + 11, claimed=claimed)
        # Attended while it rests or its claim stands; after that a lease and two ticks are too long.
        freeze(files, 1, after=moment, until=moment + LEASE + LEASE + 2 * story.TICK + 3)

    assert_found(verdict_with(plant), "lost")


def test_a_mirror_that_is_taken_late_but_in_time_is_not_lost(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        moment = changed(files, 1, after=BEGIN + 15, claimed=False)
        freeze(files, 1, after=moment, until=moment + LEASE)

    assert verdict_with(plant).figures["lost"] == 0


def test_a_mirror_that_is_due_while_no_slot_is_free_is_not_lost(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        for line in files["rows.jsonl"]:
            if BEGIN + 20 < line["at"] < BEGIN + 50:
                line["capacity"] = 0

    assert verdict_with(plant).figures["lost"] == 0


@pytest.mark.parametrize(
    ("starts_at", "act", "why"),
    [
        (None, "", "no start is named"),
        ("1970-01-01T00:17:05+00:00", "", "the start passed long ago"),
        (None, "Start Redis.", "an act is named, though Redis runs"),
    ],
)
def test_a_mirror_without_a_next_start_is_stuck(verdict_with, starts_at: str | None, act: str, why: str):
    def plant(files: dict[str, list[Line]]) -> None:
        files["explain.jsonl"][-1]["rows"][1] |= {"starts_at": starts_at, "act": act}

    assert_found(verdict_with(plant), "stuck")


def test_an_act_that_is_really_needed_is_an_explanation(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        answer = files["explain.jsonl"][0]
        for line in files["rows.jsonl"]:
            if answer["asked"] - 0.5 < line["at"] < answer["at"]:
                line["capacity"] = 0
        answer["rows"][1] |= {"starts_at": None, "act": "settings set mirror_max_capacity NUMBER"}

    assert verdict_with(plant).figures["stuck"] == 0


def crowd(line: Line) -> bool:
    """Tell whether one slot is in use."""
    return len(line["importing"]) == 1


def test_one_slot_more_than_the_capacity_is_over_the_cap(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        line = next(line for line in files["pools.jsonl"] if line["at"] > BEGIN + 35 and crowd(line))
        line["importing"] = [*line["importing"], "8:1", "9:1"]

    assert_found(verdict_with(plant), "over_cap")


def test_one_row_in_flight_more_than_the_capacity_is_over_the_cap(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        line = next(line for line in files["rows.jsonl"] if line["at"] > BEGIN + 35)
        expires = line["at"] + 3
        line["changed"] += [[n, 1, "started", True, False, None, expires - 8, expires] for n in (7, 8, 9)]

    verdict = verdict_with(plant)

    assert verdict.figures["over_cap"]


def test_git_in_one_repository_more_than_the_capacity_is_over_the_cap(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        at = files["git.jsonl"][-1]["wall"] + 0.1
        for number in (901, 902, 903):
            argv = [f"--git-dir={story.repository(number)}/incoming/1", "fetch", "m"]
            files["git.jsonl"].append(
                {"event": "start", "id": number, "argv": argv, "git_dir": "", "cwd": "/", "wall": at}
            )
        files["git.jsonl"] += [{"event": "end", "id": n, "wall": at + 0.1} for n in (901, 902, 903)]

    assert_found(verdict_with(plant), "over_cap")


def test_what_was_admitted_under_a_higher_cap_is_not_over_the_lowered_one(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        moment = next(line["at"] for line in files["pools.jsonl"] if len(line["importing"]) == 2)
        for line in files["rows.jsonl"]:
            if moment < line["at"] < moment + 0.5:
                line["capacity"] = 1

    assert verdict_with(plant).figures["over_cap"] == 0


def test_a_slot_that_is_put_back_is_not_over_a_lowered_cap_though_nobody_saw_it_taken(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        late = [line for line in files["pools.jsonl"] if line["at"] > BEGIN + 35 and crowd(line)]
        line = next(this for last, this in pairwise(late) if last["importing"] == this["importing"])
        line["importing"] = [*line["importing"], "8:1"]
        for row in files["rows.jsonl"]:
            # It went through the door under the old cap, and it comes to rest at once.
            if line["at"] - 2 < row["at"] < line["at"] + 0.7:
                row["capacity"] = 1 if row["at"] > line["at"] - 0.9 else 3
        passed = [row for row in files["rows.jsonl"] if line["at"] - 2 < row["at"] < line["at"] - 1][-1]
        expires = line["at"] + 1
        passed["changed"] += [[8, 1, "scheduled", True, False, None, expires - LEASE, expires]]

    assert verdict_with(plant).details["over_cap"] == []


def test_a_slot_without_a_live_row_after_a_lease_is_leaked(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        for line in files["pools.jsonl"]:
            if BEGIN + 30 < line["at"] < BEGIN + 31 + LEASE:
                line["processing"] = ["1:2"]

    verdict = verdict_with(plant)

    assert_found(verdict, "leaked_slots")
    assert verdict.details["leaked_slots"] == ["1:2"]


def test_a_slot_without_a_live_row_for_less_than_a_lease_is_not_leaked(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        for line in files["pools.jsonl"]:
            if BEGIN + 30 < line["at"] < BEGIN + 30 + LEASE:
                line["processing"] = ["1:2"]

    assert verdict_with(plant).ok


def test_refs_that_were_never_published_are_torn(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        refs = {"refs/heads/main": "1" * 40}
        files["refs.jsonl"].insert(
            5, {"event": "torn", "at": BEGIN + 9, "mirror": 1, "by": "file", "refs": refs}
        )

    assert_found(verdict_with(plant), "torn_refs")


def publishes(files: dict[str, list[Line]], mirror: int) -> list[Line]:
    return [line for line in files["refs.jsonl"] if line["event"] == "publish" and line["mirror"] == mirror]


def test_an_update_to_a_state_that_was_never_published_is_torn(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        publishes(files, 1)[3]["state"] = None

    assert_found(verdict_with(plant), "torn_refs")


def plant_old_epoch(files: dict[str, list[Line]]) -> None:
    publishes(files, 1)[5]["epoch"] -= 1


def plant_late_writer(files: dict[str, list[Line]]) -> None:
    """The killed worker's import becomes visible after all, while the one that followed it runs."""
    lost = next(line for line in files["attempts.jsonl"] if line["outcome"] == "lost")
    following = next(p for p in publishes(files, story.VICTIM) if p["epoch"] == lost["epoch"] + 1)
    files["refs.jsonl"].append({**following, "epoch": lost["epoch"]})
    files["refs.jsonl"].sort(key=lambda line: line["at"])


def plant_unknown_writer(files: dict[str, list[Line]]) -> None:
    change = publishes(files, 3)[4]
    files["refs.jsonl"].append({**change, "epoch": None, "at": change["at"] + 2})


def plant_writer_without_attempt(files: dict[str, list[Line]]) -> None:
    publishes(files, 1)[4]["epoch"] = 77


def plant_claim_in_force(files: dict[str, list[Line]]) -> None:
    change = publishes(files, 1)[4]
    change["row"][1], change["row"][6] = change["epoch"] + 1, change["at"] - 2


def plant_step_back(files: dict[str, list[Line]]) -> None:
    seen = [line for line in files["refs.jsonl"] if line["event"] == "seen" and line["mirror"] == 2]
    seen[4]["state"] -= 2


@pytest.mark.parametrize(
    "plant",
    [
        plant_old_epoch,
        plant_late_writer,
        plant_unknown_writer,
        plant_writer_without_attempt,
        plant_claim_in_force,
        plant_step_back,
    ],
)
def test_a_change_of_refs_under_an_old_epoch_is_a_double_writer(verdict_with, plant: Plant):
    assert_found(verdict_with(plant), "double_writers")


def last_git(files: dict[str, list[Line]]) -> Line:
    return [line for line in files["git.jsonl"] if line["event"] == "end"][-4]


def plant_survivor(files: dict[str, list[Line]]) -> None:
    last_git(files)["wall"] += LEASE + 2


def plant_never_ended(files: dict[str, list[Line]]) -> None:
    files["git.jsonl"].remove(last_git(files))


def plant_left_behind(files: dict[str, list[Line]]) -> None:
    files["events.jsonl"].append({"event": "left_behind", "wall": END + 9, "pid": 5, "command": "git fetch"})


@pytest.mark.parametrize("plant", [plant_survivor, plant_never_ended, plant_left_behind])
def test_git_that_outlives_its_lease_is_an_orphan(verdict_with, plant: Plant):
    assert_found(verdict_with(plant), "orphans")


def test_a_mirror_that_comes_back_too_late_exceeds_the_bound(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        lost = next(line for line in files["attempts.jsonl"] if line["outcome"] == "lost")
        later = lost["started_at"] + 23
        files["attempts.jsonl"] = [
            line
            for line in files["attempts.jsonl"]
            if line["mirror_id"] != story.VICTIM
            or not lost["epoch"] < line["epoch"]
            or line["started_at"] > later
        ]

    verdict = verdict_with(plant)

    assert verdict.figures["worst_recovery_s"] > verdict.figures["recovery_bound_s"]
    assert any("recovery of" in problem for problem in verdict.problems)


def test_what_the_harness_took_away_does_not_count_as_recovery(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        told = {"kind": "database", "outage": True, "number": 1}
        files["events.jsonl"] += [
            {"event": "fault_begins", "wall": story.KILLED_AT + 1, **told},
            {"event": "fault_ends", "wall": story.KILLED_AT + 4, **told},
        ]

    before, after = verdict_with(lambda files: None), verdict_with(plant)

    assert before.figures["worst_recovery_s"] - after.figures["worst_recovery_s"] == pytest.approx(
        3, abs=0.11
    )


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        ({"least_kills": 2}, "kills"),
        ({"least_hits": 2}, "kills that hit an import in flight"),
        ({"mirrors": 4}, "mirrors"),
        ({"imports": 3000}, "imports"),
    ],
)
def test_a_run_that_was_too_gentle_fails(verdict_with, plan: dict[str, int], complaint: str):
    verdict = verdict_with(lambda files: files["plan.json"][0].update(plan))

    assert not verdict.ok
    assert f" {complaint}, at least " in verdict.line()


@pytest.mark.parametrize("naive", [{"lost": 0, "leaked": 4}, {"lost": 3, "leaked": 0}])
def test_a_naive_arm_that_neither_loses_nor_leaks_fails_the_run(verdict_with, naive: dict[str, int]):
    verdict = verdict_with(lambda files: files["naive.json"][0].update(naive))

    assert verdict.problems == ["the naive arm lost or leaked nothing: the harness is too gentle"]


def test_a_kill_counts_as_a_hit_by_the_history_not_by_the_harness(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        kill = next(line for line in files["events.jsonl"] if line["event"] == "kill")
        kill["worker"] = 999

    assert "only 0 kills that hit an import in flight" in verdict_with(plant).line()


def test_a_mirror_that_ends_with_old_refs_fails_the_run(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        files["end.json"][0]["versions"]["lab-1"] += 1

    assert "mirror 1 ended at state" in verdict_with(plant).line()


def test_an_attempt_that_is_never_closed_fails_the_run(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        files["attempts.jsonl"][4] |= {"ended_at": None, "outcome": ""}

    assert "was never closed" in verdict_with(plant).line()


def test_a_fault_that_could_not_be_made_fails_the_run(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        files["events.jsonl"].append({"event": "fault_failed", "kind": "disk", "error": "no", "wall": BEGIN})

    assert "could not do disk" in verdict_with(plant).line()


def test_a_database_that_nobody_can_write_to_fails_the_run_unless_a_process_was_stopped(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        files["locks.jsonl"] = [{"event": "locked", "since": BEGIN + 20, "at": BEGIN + 26}]

    def plant_both(files: dict[str, list[Line]]) -> None:
        plant(files)
        told = {"kind": "stop", "number": 1, "pid": story.SECOND, "role": "imports-2"}
        files["events.jsonl"] += [
            {"event": "fault_begins", "wall": BEGIN + 19, **told},
            {"event": "fault_ends", "wall": BEGIN + 25, **told},
        ]

    assert "locked for 6 s, and nobody had been stopped" in verdict_with(plant).line()
    assert "locked" not in verdict_with(plant_both).line()


def test_a_quiet_time_that_was_too_short_to_see_every_mirror_fails_the_run(verdict_with):
    def plant(files: dict[str, list[Line]]) -> None:
        next(line for line in files["events.jsonl"] if line.get("name") == "quiet")["wall"] = END - 10

    assert "quiet time" in verdict_with(plant).line()


def test_the_details_are_fit_for_json(verdict_with):
    assert json.dumps(verdict_with(lambda files: None).details)
