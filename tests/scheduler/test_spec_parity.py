"""docs/spec-parity.md says what is true: every case is answered, and every test that it names exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "spec-parity.md").read_text(encoding="utf-8")
SECTION = re.compile(
    r"^## (?P<spec>[^\n]+): (?P<count>\d+) cases\n(?P<body>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL
)
CASE = re.compile(r"^\| (?P<number>\d+) \| (?P<case>.+?) \| (?P<answer>.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`(?P<path>tests/[\w/]+\.py)::(?P<test>\w+)`")
SPECS = {
    "update_all_mirrors_worker_spec": 21,
    "project_import_schedule_worker_spec": 9,
    "mirror_spec": 14,
    "job_tracker_spec": 7,
    "limited_capacity/worker_spec": 11,
    "project_import_state_spec": 19,
    "project_spec, the scopes of mirrors": 6,
    "repository_update_mirror_worker_spec": 7,
    "update_mirror_service_spec": 25,
    "start_pull_mirroring_service_spec": 5,
}


def names_in(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_spec_is_there_with_all_its_cases():
    found = {section["spec"]: section for section in SECTION.finditer(TEXT)}

    assert {spec: int(section["count"]) for spec, section in found.items()} == SPECS
    for spec, count in SPECS.items():
        numbers = [int(case["number"]) for case in CASE.finditer(found[spec]["body"])]
        assert numbers == list(range(1, count + 1)), spec


def test_every_case_names_a_test_or_says_why_not():
    for case in CASE.finditer(TEXT):
        answer = case["answer"]
        assert NAMED.search(answer) or re.search(
            r"does not apply( yet)?, (because|for the reason)", answer
        ), case[0]


def test_every_test_that_is_named_exists():
    named = {(name["path"], name["test"]) for name in NAMED.finditer(TEXT)}

    missing = [f"{path}::{test}" for path, test in sorted(named) if test not in names_in(path)]

    assert len(named) > 50
    assert missing == []
    assert "`tests/" not in NAMED.sub("", TEXT).replace("`tests/scheduler/test_spec_parity.py`", "")
