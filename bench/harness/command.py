"""The command of a row: `python -m bench.NAME [--size smoke|quick|full] [--seed N] [--out FOLDER]`."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rich.console import Console

from bench.harness import machine, results
from bench.harness.measure import Void
from bench.harness.row import Row, table
from bench.harness.scale import Scale

QUICK_OUT = machine.ROOT / ".build" / "bench"
FULL_OUT = machine.ROOT / "bench" / "results"
VOID = 3
"""The exit status of a row that proves nothing."""

console = Console(width=160 if not sys.stdout.isatty() else None, soft_wrap=True)


def main(name: str, measure: Callable[[Scale], Iterable[Row]]) -> None:
    """Measure, print the table, write the JSON lines, and exit with 3 if the measurement is void."""
    parser = argparse.ArgumentParser(
        prog=f"python -m bench.{name}", description=sys.modules["__main__"].__doc__
    )
    parser.add_argument("--size", choices=("smoke", "quick", "full"), default="quick")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, help="folder of the JSON lines (full: bench/results, else .build/bench)"
    )
    options = parser.parse_args()
    out = options.out or (FULL_OUT if options.size == "full" else QUICK_OUT)
    sys.exit(run(name, measure, Scale(options.size, options.seed), out=out))


def _until_void(name: str, rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows; in place of those that prove nothing, one that says why."""
    try:
        yield from rows
    except Void as void:
        yield Row(row=name, what=name, peer_name="-", unit="-", ours=0, peer=0, target=0, void=str(void))


def run(name: str, measure: Callable[[Scale], Iterable[Row]], scale: Scale, *, out: Path) -> int:
    """Measure one module of rows and return the exit status."""
    facts = machine.facts() | {"scale": scale.size, "seed": scale.seed}
    rows: list[Row] = []
    for row in _until_void(name, measure(scale)):
        rows.append(row)
        # At once: what was measured is kept, whatever becomes of the rows that take longer.
        results.write(out / f"{name}.jsonl", rows, run=facts)
    console.print(table(rows))
    for reason in dict.fromkeys(
        f"{row.peer_name}: {row.void or row.why}" for row in rows if row.void or row.why
    ):
        console.print(f"  {reason}", style="dim", highlight=False)
    for row in (row for row in rows if row.course):
        course = " ".join(f"{value:,.4g}" for value in row.course)
        console.print(f"  {row.row}, {row.unit} by ten seconds: {course}", style="dim", highlight=False)
    return VOID if any(row.is_void for row in rows) or not rows else 0
