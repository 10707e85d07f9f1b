"""The tables in the documents are those of the results, and nothing else."""

import pytest

from bench import table
from bench.harness.machine import ROOT
from bench.harness.results import Result, read_all
from bench.harness.row import Row, Target

pytestmark = pytest.mark.one_database
RUN = {
    "date": "2026-03-01T12:00:00+00:00",
    "machine": "2 x CPU",
    "versions": {"git": "2.39.5"},
    "scale": "full",
    "seed": 1,
}


def result(**changes):
    values = {
        "row": "r",
        "what": "do w",
        "peer_name": "peer p",
        "unit": "s",
        "ours": 1.0,
        "peer": 6.0,
        "target": 5.0,
    }
    return Result(Row(**{**values, **changes}), RUN)


def test_the_documents_are_as_the_results_say():
    made = table.documents(ROOT, read_all(table.FULL_OUT))

    for name, text in made.items():
        assert (ROOT / name).read_text() == text, f"{name}: run python -m bench.table"


def test_readme_shows_targets_reached_missed_and_void_and_the_long_table_also_what_is_stated():
    results = [
        result(),
        result(what="do x", peer=2.0),
        result(what="do y", void="one change was missed"),
        result(what="do z", kind=Target.STATED, peer=0.5, why="its best setting"),
    ]

    short, long = table.short(results), table.long(results)

    assert "| do w | peer p | 1 s | 6 | 6.00x | at least 5x | reached |" in short
    assert "| do x | peer p | 1 s | 2 | 2.00x | at least 5x | **MISSED** |" in short
    assert "| do y | peer p | | | | at least 5x | **VOID** |" in short
    assert "do z" not in short
    assert "| do z | peer p | 1 s | 0.5 | 0.50x | - | stated: we lose |" in long
    assert "- **peer p**: its best setting" in long
    assert "- **peer p**: do y, one change was missed" in long
    assert "2026-03-01" in short
    assert "2 x CPU" in short


def test_a_table_takes_the_place_of_the_one_before_and_nothing_else():
    document = "a\n<!-- rows: made by python -m bench.table -->\nold\n<!-- end of rows -->\nb\n"

    assert table.put(document, "rows", "new\n") == document.replace("old", "new")
    with pytest.raises(table.NoPlace):
        table.put("a\n", "rows", "new\n")


def test_the_plot_has_a_point_for_each_size_that_was_measured():
    grown = [
        result(row="growth-run", ours=12.0, peer=10.0, size=100_000, peer_size=10_000),
        result(row="growth-run", ours=15.0, peer=10.0, size=1_000_000, peer_size=10_000),
    ]

    assert table.series(grown) == {
        "whole scheduler run": [(10_000, 10.0), (100_000, 12.0), (1_000_000, 15.0)]
    }
    picture = table.documents(ROOT, grown)[table.PLOT]
    assert picture.count("<circle") == 3
    assert "1,000,000" in picture


def test_the_arithmetic_is_cost_times_mirrors_by_the_interval():
    grown = [result(row="growth-check", ours=90.0, peer=80.0, size=1_000_000, peer_size=10_000)]

    assert (
        "| check of an unchanged mirror, 90 µs | 1,000,000 mirrors | 0.30 cores | 3.00 cores |"
        in table.arithmetic(grown)
    )
