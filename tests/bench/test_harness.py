"""The benches' harness: contenders in turns, voids, and what the rows say."""

import json

import pytest

from bench.__main__ import run_all
from bench.harness import results
from bench.harness.command import VOID, run
from bench.harness.measure import Contender, Void, in_turns, require
from bench.harness.row import Row, Target
from bench.harness.scale import Scale

pytestmark = pytest.mark.one_database


def row(**changes):
    values = {"row": "r", "what": "w", "peer_name": "p", "unit": "s", "ours": 1.0, "peer": 6.0, "target": 5.0}
    return Row(**{**values, **changes})


def test_contenders_take_turns_after_one_that_is_not_measured():
    said: list[str] = []
    contenders = [Contender(name, lambda name=name: said.append(name)) for name in ("ours", "peer", "other")]

    measured = in_turns(contenders, rounds=4, seed=3)

    rounds = [said[at : at + 3] for at in range(0, len(said), 3)]
    assert [sorted(each) for each in rounds] == [["other", "ours", "peer"]] * 5
    assert len(set(map(tuple, rounds))) > 1
    assert [(each.name, len(each.turns)) for each in measured] == [("ours", 4), ("peer", 4), ("other", 4)]


def test_every_turn_is_checked_and_only_the_work_is_timed():
    def slow() -> None:
        import time

        time.sleep(0.05)

    checks: list[int] = []
    contender = Contender("ours", lambda: None, before=slow, check=lambda: checks.append(1))

    [measured] = in_turns([contender], rounds=3, seed=1)

    assert len(checks) == 4
    assert measured.wall < 0.04


def test_a_turn_whose_work_was_not_done_voids_the_measurement_and_names_the_contender():
    contender = Contender("peer", lambda: None, check=lambda: require(False, otherwise="7 of 8 done"))

    with pytest.raises(Void, match="peer: 7 of 8 done"):
        in_turns([contender], rounds=1, seed=1)


def test_a_void_measurement_is_written_as_such_and_its_command_fails(tmp_path):
    def missed(scale):
        raise Void("one change was missed")
        yield

    status = run("sweep", missed, Scale("smoke"), out=tmp_path)

    [line] = (tmp_path / "sweep.jsonl").read_text().splitlines()
    values = json.loads(line)
    assert status == VOID
    assert (values["ok"], values["verdict"], values["void"]) == (False, "VOID", "one change was missed")


@pytest.mark.parametrize("size", ["smoke", "quick"])
def test_a_module_that_fails_is_named_whether_it_ran_alone_or_beside_others(size, tmp_path):
    names = ["harness.row", "harness.nothing", "harness.scale"]

    assert run_all(names, size, seed=1, out=tmp_path) == ["harness.nothing"]


def test_what_was_measured_before_is_kept_though_a_later_row_is_void_or_the_run_is_cut_short(tmp_path):
    def measure(_scale, failure):
        yield row()
        raise failure

    with pytest.raises(KeyboardInterrupt):
        run("cut", lambda scale: measure(scale, KeyboardInterrupt()), Scale("smoke"), out=tmp_path)
    assert run("void", lambda scale: measure(scale, Void("no")), Scale("smoke"), out=tmp_path) == VOID

    kept = {name: (tmp_path / f"{name}.jsonl").read_text().splitlines() for name in ("cut", "void")}
    assert len(kept["cut"]) == 1
    assert len(kept["void"]) == 2


def test_a_peer_that_did_not_run_voids_a_row_with_a_target(tmp_path):
    absent = row(peer=0)

    assert (absent.ok, absent.verdict) == (False, "VOID")
    assert run("row", lambda scale: [absent], Scale("smoke"), out=tmp_path) == VOID
    assert run("row", lambda scale: [], Scale("smoke"), out=tmp_path) == VOID


def test_a_peer_that_did_not_run_beside_a_target_is_said_and_voids_nothing(tmp_path):
    absent = row(peer=0, kind=Target.STATED)

    assert (absent.ok, absent.verdict) == (None, "peer not run")
    assert run("row", lambda scale: [absent], Scale("smoke"), out=tmp_path) == 0


@pytest.mark.parametrize(
    ("changes", "ratio", "ok", "verdict"),
    [
        ({}, 6.0, True, "reached"),
        ({"peer": 4.0}, 4.0, False, "MISSED"),
        ({"peer": 0.5}, 0.5, False, "MISSED: we lose"),
        ({"kind": Target.AT_MOST, "ours": 2.0, "peer": 1.0, "target": 2.0}, 2.0, True, "reached"),
        ({"kind": Target.AT_MOST, "ours": 3.0, "peer": 1.0, "target": 2.0}, 3.0, False, "MISSED"),
        ({"kind": Target.STATED}, 6.0, None, "stated"),
        ({"kind": Target.STATED, "peer": 0.5}, 0.5, None, "stated: we lose"),
        ({"kind": Target.OURS_STATED, "peer": 0.5}, 2.0, None, "stated"),
    ],
)
def test_a_row_says_whether_its_target_is_reached_and_where_we_lose(changes, ratio, ok, verdict):
    made = row(**changes)

    assert (made.ratio, made.ok, made.verdict) == (ratio, ok, verdict)


def test_rows_come_back_from_their_file_as_they_were(tmp_path):
    rows = [row(course=(3.5, 4.0)), row(kind=Target.STATED, why="because")]

    results.write(tmp_path / "tracker.jsonl", rows, run={"seed": 4})

    read = results.read_all(tmp_path)
    assert [result.row for result in read] == rows
    assert {result.run["seed"] for result in read} == {4}
