"""Definitions are read strictly, and hang together with the code."""

import shutil
import subprocess
import sys
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import pytest

from mirroring.flags import registry, usage
from mirroring.flags.definition import MAX_LIFE, Direction, EffectKind, FlagType
from mirroring.flags.definition_file import BadDefinition, duration, read
from tests import trial
from tests.flags import samples
from tests.trial import FIRST, SECOND

ROOT = Path(__file__).resolve().parents[2]


def test_a_definition_says_what_is_expected_and_what_is_required():
    first, second = (registry.definition(name) for name in (FIRST, SECOND))

    assert second.requires.flag == FIRST
    assert second.requires.stable_for == timedelta(days=1)
    for made in (first, second):
        assert made.owner.team == "Scalability"
        assert made.owner.channel == "#g_scalability"
        assert made.actor == "none"


@pytest.mark.parametrize(
    "name", [name for name in registry.FlagName if registry.definition(name).actor == "none"]
)
def test_what_the_rollout_issue_expects_is_written_down_as_bounds(name):
    effects = {(effect.metric, effect.kind): effect for effect in registry.definition(name).effects}

    for metric in ("redis_round_trips", "redis_calls"):  # the same, or slightly higher
        same = effects[metric, EffectKind.RATIO]
        assert same.direction is Direction.AT_MOST
        assert 1 < same.bound <= 1.2
    assert 1 < effects["redis_calls", EffectKind.PEAK].bound <= 1.5  # no unexpected peak
    assert ("import_failures", EffectKind.RATIO) in effects  # mirroring works
    assert ("lag_seconds", EffectKind.RATIO) in effects


@pytest.mark.parametrize("field", [*samples.BODY])
def test_a_field_that_is_missing_is_named(tmp_path, field):
    with pytest.raises(BadDefinition, match=f"the field {field} is missing"):
        read(samples.write(tmp_path, "sample", **{field: ...}))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("type", "forever", "type: 'forever'"),
        ("default", "no", "default: write true or false"),
        ("actor", "user", "actor: 'user'"),
        ("milestone", 0.1, "milestone: write it in quotes"),
        ("intended_end", "1", "intended_end: '1' is no milestone"),
        ("owner", {"team": "T", "contact": "@a"}, "owner: the field channel is missing"),
        (
            "owner",
            {"team": "T", "contact": "@a", "channel": "#c", "phone": "1"},
            "owner: no such field: phone",
        ),
        (
            "requires",
            {"flag": "other", "stable_for": "1 day"},
            "requires: stable_for: '1 day' is no duration",
        ),
        ("effects", [{"metric": "joy", "direction": "at_most", "bound": 1, "kind": "ratio"}], "not sampled"),
        ("effects", [{"metric": "bounced", "direction": "up", "bound": 1, "kind": "ratio"}], "direction"),
        ("effects", {}, "effects: write a list"),
        ("cleanup_hook", "rm -rf", "cleanup_hook: 'rm -rf' is no name"),
        ("description", " ", "description: write a text"),
        ("surprise", 1, "no such field: surprise"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_what_belongs_there(tmp_path, field, value, said):
    with pytest.raises(BadDefinition, match=said):
        read(samples.write(tmp_path, "sample", **{field: value}))


def test_a_file_is_called_as_its_flag(tmp_path):
    path = samples.write(tmp_path, "sample")

    with pytest.raises(BadDefinition, match=r"call the file sample\.yml"):
        read(path.rename(tmp_path / "other.yml"))


@pytest.mark.parametrize("kind", [kind for kind in FlagType if MAX_LIFE[kind]])
def test_a_flag_is_not_planned_to_live_longer_than_its_type_allows(tmp_path, kind):
    limit = MAX_LIFE[kind]
    assert read(samples.write(tmp_path, "sample", type=str(kind), intended_end=f"0.{1 + limit}"))

    with pytest.raises(BadDefinition, match=f"lives {limit} milestones at most"):
        read(samples.write(tmp_path, "sample", type=str(kind), intended_end=f"0.{2 + limit}"))


def test_a_flag_for_operations_may_stay(tmp_path):
    assert read(samples.write(tmp_path, "sample", type="ops", intended_end="9.0"))


def test_what_a_flag_requires_must_be_defined(define):
    define("sample", requires={"flag": "nowhere", "stable_for": "1d"})

    with pytest.raises(BadDefinition, match="requires 'nowhere', which is not defined"):
        registry.definitions()


def test_a_flag_is_defined_once(define):
    define(str(FIRST))

    with pytest.raises(BadDefinition, match="is defined already"):
        registry.definitions()


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86_400)])
def test_durations(text, seconds):
    assert duration(text) == timedelta(seconds=seconds)


# -- code and definitions -------------------------------------------------------------------------------------------


class Names(StrEnum):
    TRIAL_FIRST = FIRST
    TRIAL_SECOND = SECOND


@pytest.fixture
def tree(tmp_path) -> Path:
    """A code base that asks for both flags, in the two ways in which one asks."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "steps.py").write_text("a = FlagName.TRIAL_FIRST\nis_on('trial_second')\n")
    shutil.copytree(trial.FOLDER, tmp_path / "definitions")
    return tmp_path


def faults(tree: Path) -> list[str]:
    return usage.faults(tree / "code", tree / "definitions", names=Names)


def test_the_code_as_it_is_asks_for_what_is_defined_and_for_nothing_else():
    assert usage.faults() == []
    assert usage.requirements() == []


def test_a_tree_without_faults_has_none(tree):
    assert faults(tree) == []


def test_a_flag_that_is_defined_and_that_no_code_asks_for_is_a_fault(tree):
    (tree / "code" / "steps.py").write_text("is_on('trial_second')\n")

    assert faults(tree) == [f"{FIRST} is defined and no code asks for it: clean it up"]


@pytest.mark.parametrize("line", ["is_on('nowhere')", "readings.read('nowhere', now=n)", "FlagName.NOWHERE"])
def test_a_flag_that_the_code_asks_for_and_that_is_not_defined_is_a_fault(tree, line):
    with (tree / "code" / "steps.py").open("a") as code:
        code.write(line + "\n")

    assert faults(tree) == ["the code asks for 'nowhere', which no file defines"]


def test_a_name_without_a_file_and_a_file_without_a_name_are_faults(tree):
    (tree / "definitions" / f"{FIRST}.yml").rename(tree / "definitions" / "nowhere.yml")

    found = "\n".join(faults(tree))

    assert f"FlagName has {FIRST}, which no file defines" in found
    assert "nowhere.yml is defined, and FlagName has no such flag" in found


def test_requirements_that_go_round_are_a_fault(define):
    define("one", requires={"flag": "two", "stable_for": "1d"})
    define("two", requires={"flag": "one", "stable_for": "1d"})

    assert usage.requirements() == ["one requires itself in the end", "two requires itself in the end"]


def test_no_process_starts_on_a_wrong_definition(tmp_path, child_environment):
    samples.write(tmp_path, "sample", owner=...)

    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=child_environment(EXTRA_FLAG_DEFINITIONS=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode != 0
    assert "the field owner is missing" in done.stderr
