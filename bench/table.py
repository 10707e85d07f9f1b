"""Write README's performance table, and the tables and the plot of docs/performance.md, from the files of results.

`python -m bench.table [--check]`: with --check nothing is written, and what is not as the results say is an error.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.harness.command import FULL_OUT
from bench.harness.machine import ROOT
from bench.harness.plot import Point, draw
from bench.harness.results import Result, read_all
from bench.harness.row import Row, target_text

PLOT = "docs/images/cost-per-mirror.svg"
SERIES = {
    "growth-run": "whole scheduler run",
    "growth-claim": "claim",
    "growth-check": "check of an unchanged mirror",
}
INTERVAL_SECONDS = 300
ARITHMETIC = """Cores are mirrors / 300 s x cost, wall clock counting as if it were all CPU: cores as this machine has
them. A scheduler run counts only for mirrors that have something to fetch.
"""
NOT_YET = "Nothing has been measured in full yet: `make bench FULL=1` does it."


class NoPlace(Exception):
    """A document lacks the two comments between which a table belongs."""


def main() -> int:
    """Write the documents, or say which of them are out of date."""
    parser = argparse.ArgumentParser(prog="python -m bench.table", description=__doc__)
    parser.add_argument("--check", action="store_true")
    return write(check=parser.parse_args().check)


def write(*, check: bool = False) -> int:
    """Write what is not as the results say, or with `check` only name it; then the answer is 1 if there is any."""
    stale = []
    for name, text in documents(ROOT, read_all(FULL_OUT)).items():
        path = ROOT / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"{name} {'is not as the results say: run python -m bench.table' if check else 'written'}")
    return 1 if stale and check else 0


def documents(root: Path, results: list[Result]) -> Mapping[str, str]:
    """Return what each of the documents should hold."""
    readme, performance = root / "README.md", root / "docs" / "performance.md"
    made = {
        "README.md": put(readme.read_text(encoding="utf-8"), "performance", short(results)),
        "docs/performance.md": put(
            put(performance.read_text(encoding="utf-8"), "rows", long(results)),
            "arithmetic",
            arithmetic(results),
        ),
    }
    if lines := series(results):
        made[PLOT] = draw(
            lines, title="Cost for a mirror as the fleet grows", x_label="mirrors", y_label="µs a mirror"
        )
    return made


def put(document: str, name: str, text: str) -> str:
    """Return the document with `text` between its two comments of this name."""
    begin, end = f"<!-- {name}: made by python -m bench.table -->\n", f"<!-- end of {name} -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise NoPlace(
            f"The document has no lines {begin.strip()} and {end}: put them where the table belongs"
        )
    return f"{before}{begin}{text}{end}{after}"


def short(results: list[Result]) -> str:
    """Return the rows that have a target."""
    return _table([result for result in results if result.row.has_target])


def long(results: list[Result]) -> str:
    """Return every row, with the reason of each peer's setting."""
    said = (
        (f"{result.row.what}, {result.row.void}" if result.row.void else result.row.why, result.row.peer_name)
        for result in results
    )
    notes = [f"- **{name}**: {reason}" for reason, name in dict.fromkeys(said) if reason]
    return _table(results) + ("\n" + "\n".join(notes) + "\n" if notes else "")


def _table(results: list[Result]) -> str:
    if not results:
        return f"\n{NOT_YET}\n\n"
    lines = ["", "| what | against | ours | theirs | ratio | target | |", "|---|---|--:|--:|--:|---|---|"]
    lines += [_line(result.row) for result in results]
    return "\n".join([*lines, "", *_runs(results), ""])


def _line(row: Row) -> str:
    if row.void:
        return f"| {row.what} | {row.peer_name} | | | | {target_text(row)} | **{row.verdict}** |"
    verdict = row.verdict if row.ok or row.ok is None else f"**{row.verdict}**"
    figures = f"{row.ours:,.4g} {row.unit} | {row.peer:,.4g} | {row.ratio:,.2f}x"
    return f"| {row.what} | {row.peer_name} | {figures} | {target_text(row)} | {verdict} |"


def _runs(results: list[Result]) -> list[str]:
    """Say when, on what and in what size the rows were measured; once if it is the same for all."""
    said: dict[str, list[str]] = {}
    for result in results:
        run = result.run
        versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        line = f"{run['date'][:10]}, sizes: {run['scale']}, {run['machine']}; {versions}."
        said.setdefault(line, []).append(result.row.row)
    if len(said) == 1:
        return [f"Measured {line}" for line in said]
    return [f"{', '.join(dict.fromkeys(names))}: measured {line}" for line, names in said.items()]


def arithmetic(results: list[Result]) -> str:
    """Return what fleets of a million and of ten million need, by the costs at the largest size that was measured."""
    costs = {name: line[-1] for name, line in series(results).items()}
    if not costs:
        return f"\n{NOT_YET}\n\n"
    lines = ["", "| a mirror each five minutes | measured at | 1,000,000 mirrors | 10,000,000 mirrors |"]
    lines.append("|---|--:|--:|--:|")
    for name, (size, cost) in costs.items():
        needs = [f"{fleet / INTERVAL_SECONDS * cost / 1e6:,.2f} cores" for fleet in (1_000_000, 10_000_000)]
        lines.append(f"| {name}, {cost:,.3g} µs | {size:,.0f} mirrors | {' | '.join(needs)} |")
    return "\n".join([*lines, "", ARITHMETIC, ""])


def series(results: list[Result]) -> dict[str, list[Point]]:
    """Return the lines of the plot."""
    lines: dict[str, dict[float, float]] = {}
    for row in (result.row for result in results):
        if row.row in SERIES and not row.void:
            line = lines.setdefault(SERIES[row.row], {})
            line[row.size] = row.ours
            line.setdefault(row.peer_size, row.peer)
    return {name: sorted(line.items()) for name, line in lines.items()}


if __name__ == "__main__":
    sys.exit(main())
