"""What can be said about the demo without running it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance import upstreams
from tests.acceptance.plan import Failed, Plan, read_list, read_plan
from tests.acceptance.seed import plan as seed_plan
from tests.acceptance.told import run_and_judge
from tests.lab.repositories import Upstream
from tests.verify.verdict import Verdict


def test_without_any_variable_it_is_sixty_mirrors_under_a_cap_of_eight() -> None:
    plan = read_plan({})

    assert (plan.mirrors, plan.cap, plan.updates, plan.clones, plan.reaches_cap) == (60, 8, 10, 3, True)


@pytest.mark.parametrize(
    ("name", "value"), [("DEMO_MIRRORS", "3"), ("DEMO_MIRRORS", "many"), ("DEMO_CAP", "0"), ("SEED", "-1")]
)
def test_a_number_that_makes_no_sense_ends_in_one_line(name: str, value: str) -> None:
    command = [sys.executable, "-m", "tests.acceptance.demo"]
    done = subprocess.run(command, env={name: value}, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"demo FAILED: {name} must be a whole number of at least ")


@pytest.mark.parametrize(
    ("name", "value", "bounds"),
    [
        ("SEED", "x", "of at least 0"),
        ("SEED_MIRRORS", "31", "from 32 to 400"),
        ("SEED_MIRRORS", "401", "from 32 to 400"),
        ("SEED_SECONDS", "29", "from 30 to 600"),
        ("SEED_SECONDS", "601", "from 30 to 600"),
    ],
)
def test_a_size_at_which_a_walk_would_prove_nothing_is_refused(name: str, value: str, bounds: str) -> None:
    with pytest.raises(Failed, match=f"{name} must be a whole number {bounds}"):
        seed_plan.read_plan({name: value})


def test_a_verifier_that_breaks_fails_the_run_and_keeps_the_evidence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def judge(folder: Path) -> Verdict:
        raise ValueError("no such evidence")

    removed: list[Path] = []
    assert run_and_judge("walk", tmp_path, run=lambda _: None, judge=judge, remove=removed.append) == 1

    *_, evidence, last = capsys.readouterr().out.splitlines()
    assert (evidence, last) == (f"evidence: {tmp_path}", "walk FAILED: ValueError: no such evidence")
    assert removed == []


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "team" / "own.git"
    subprocess.run(["git", "init", "--quiet", "--bare", path], check=True)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "# ours\nteam/own.git\n\nhttps://git.example/team/other.git\n",
        "name,url\none,team/own.git\ntwo,https://git.example/team/other.git\n",
        json.dumps(["team/own.git", {"url": "https://git.example/team/other.git", "name": "x"}]),
    ],
)
def test_a_list_may_hold_urls_and_paths_in_three_forms(text: str, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(text)

    assert read_list(tmp_path / "list") == (str(repository), "https://git.example/team/other.git")


def test_a_work_tree_in_a_list_stands_for_its_repository(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path / "tree"], check=True)
    (tmp_path / "list").write_text("tree\n")

    assert read_list(tmp_path / "list") == (str(tmp_path / "tree/.git"),)


@pytest.mark.parametrize("text", ["", "# nothing\n", "no/such/folder\n", '[{"name": "x"}]', "[1"])
def test_a_list_that_cannot_be_used_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(text)

    with pytest.raises(Failed):
        read_list(tmp_path / "list")


def test_a_list_that_is_not_there_is_told_in_one_plain_line() -> None:
    with pytest.raises(Failed) as refused:
        read_plan({"MIRRORS": "/no/such"})

    assert str(refused.value) == (
        "MIRRORS=/no/such cannot be read (No such file or directory): give the path of a list"
    )


def test_repositories_of_a_list_get_names_of_their_own_and_no_pushes(repository: Path) -> None:
    plan = Plan(mirrors=3, given=(str(repository), str(repository), "http://127.0.0.1:9/gone/own.git"))

    taken = upstreams.take(plan)

    assert [source.name for source in taken] == ["own", "own-2", "own-3"]
    assert [source.expected for source in taken] == ["fresh", "fresh", "failed"]
    assert [source.served for source in taken] == [True, True, False]
    assert (plan.updates, upstreams.Pushes(plan, taken).next(rounds_left=1)) == (0, [])


def test_every_chosen_upstream_is_pushed_to_once_over_the_rounds(tmp_path: Path) -> None:
    plan = Plan(mirrors=16)
    sources = upstreams.make(plan, tmp_path)
    pushes = upstreams.Pushes(plan, sources)

    rounds = [pushes.next(rounds_left=left) for left in (4, 3, 2, 1)]

    names = [push.name for pushed in rounds for _, push in pushed]
    assert [len(pushed) for pushed in rounds] == [3, 3, 2, 2]
    assert len(set(names)) == 10
    assert len({push.kind for pushed in rounds for _, push in pushed}) >= 5


def test_the_last_three_upstreams_misbehave(tmp_path: Path) -> None:
    sources = upstreams.make(Plan(mirrors=5), tmp_path)

    assert [(source.behaviour, source.expected) for source in sources] == [
        ("", "fresh"),
        ("", "fresh"),
        ("auth", "failed"),
        ("gone", "failed"),
        ("hang", "failed"),
    ]
    assert all(isinstance(source.made, Upstream) for source in sources)
