"""The files of results: one JSON line a row."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness.row import Row

MODULES = (
    "noop",
    "fetch",
    "sweep",
    "sustained",
    "enqueue",
    "tracker",
    "claim",
    "claim_sqlite",
    "scheduler_run",
    "growth",
    "occupancy",
    "footprint",
)
"""The modules of rows, in the order of the table."""


@dataclass(frozen=True)
class Result:
    """A row, and the run that it is from: date, machine, versions, scale and seed."""

    row: Row
    run: Mapping[str, Any]


def write(path: Path, rows: Sequence[Row], *, run: Mapping[str, Any]) -> None:
    """Write the rows of one module in place of what the file held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({**row.as_json(), **run}, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read(path: Path) -> list[Result]:
    """Return what a file holds."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [Result(Row.of_json(values), values) for values in lines]


def read_all(folder: Path) -> list[Result]:
    """Return what the files of a folder hold, in the order of the table."""
    return [result for path in sorted(folder.glob("*.jsonl"), key=_place) for result in read(path)]


def _place(path: Path) -> tuple[int, str]:
    return (MODULES.index(path.stem) if path.stem in MODULES else len(MODULES), path.stem)
