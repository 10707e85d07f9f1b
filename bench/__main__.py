"""Run every row, each in a process of its own: `python -m bench [--size smoke|quick|full] [--seed N] [NAME...]`.

One after the other, so that none is in another's way; a smoke run, which looks at no times, has two at once.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bench import table as documents
from bench.harness import machine
from bench.harness.command import FULL_OUT, QUICK_OUT, console
from bench.harness.results import MODULES, read_all
from bench.harness.row import table

AT_ONCE = 2


def main() -> int:
    """Run the rows, print them all in one table, and return 1 if one of them is void."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--size", choices=("smoke", "quick", "full"), default="quick")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(MODULES)}; all if none is given"
    )
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(MODULES)):
        parser.error(f"there is no row {', '.join(unknown)}: choose from {', '.join(MODULES)}")
    out = options.out or (FULL_OUT if options.size == "full" else QUICK_OUT)
    names = [name for name in MODULES if name in (options.names or MODULES)]
    failed = run_all(names, options.size, seed=options.seed, out=out)
    if options.size == "full":
        documents.write()
    return summary(out, failed, smoke=options.size == "smoke")


def run_all(names: Sequence[str], size: str, *, seed: int, out: Path) -> list[str]:
    """Run modules of rows and return the names of those that failed."""
    at_once = AT_ONCE if size == "smoke" else 1
    with ThreadPoolExecutor(at_once) as pool:
        statuses = pool.map(partial(run, size=size, seed=seed, out=out, whole=at_once > 1), names)
        return [name for name, status in zip(names, statuses, strict=True) if status]


def run(name: str, *, size: str, seed: int, out: Path, whole: bool) -> int:
    """Run one module of rows and return its exit status. `whole`: what it says is held back until it ends."""
    began = time.monotonic()
    if not whole:
        console.print(f"== {name}", style="bold")
    command = [sys.executable, "-m", f"bench.{name}", "--size", size, "--seed", str(seed), "--out", str(out)]
    said_to, errors_to = (subprocess.PIPE, subprocess.STDOUT) if whole else (None, None)
    done = subprocess.run(command, cwd=machine.ROOT, text=True, stdout=said_to, stderr=errors_to)
    said = f"== {name}\n{done.stdout}" if whole else ""
    console.print(
        f"{said}   {time.monotonic() - began:.0f} s, exit status {done.returncode}",
        highlight=False,
        markup=False,
    )
    return done.returncode


def summary(out: Path, failed: list[str], *, smoke: bool) -> int:
    """Print what was reached and what was not. A smoke run looks at no times, for they mean nothing there."""
    rows = [result.row for result in read_all(out)]
    if not smoke:
        console.print(table(rows))
        missed = [row for row in rows if row.ok is False]
        reached = [row for row in rows if row.ok]
        console.print(f"targets: {len(reached)} reached, {len(missed)} missed or void")
    for name in failed:
        console.print(f"bench FAILED: {name} proves nothing (its reason is above)", style="red")
    console.print(f"bench {'FAILED' if failed else 'ok'}: {len(rows)} rows in {out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
