"""Plant each fault of this folder in a copy of the project and see the named test fail.

A patch begins with two lines, `# test: tests/file.py::test_name` and `# breaks: what the fault does`, and may
have a third, `# database: postgresql`. `python -m tests.mutants.run NAME...` runs some of them only, and
`python -m tests.mutants.run --apply` only sees, in a second, whether each can still be planted. `--proven` is for
whoever also runs the whole suite on the same code: the named tests are then not run without faults first.
"""

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 2
LIMIT_SECONDS = 300
ALL_SECONDS = 2400  # for all named tests in one run
TOGETHER = ("-n", str(AT_ONCE), "--dist", "loadfile")
CAUGHT = "caught"
SURVIVED = "SURVIVED"
# What a pytest that runs us (in the tests of this file) has set for itself.
OUTER_RUN = {"DJANGO_SETTINGS_MODULE", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "COVERAGE_PROCESS_CONFIG"}


@dataclass(frozen=True)
class Mutant:
    name: str
    patch: Path
    test: str
    breaks: str
    database: str


@dataclass(frozen=True)
class Verdict:
    mutant: Mutant
    result: str
    seconds: float
    output: str


class BadPatch(Exception):
    pass


def main(names: Collection[str] = (), *, root: Path = ROOT) -> int:
    only_apply, proven = "--apply" in names, "--proven" in names
    try:
        mutants = read_all(root / "tests" / "mutants", set(names) - {"--apply", "--proven"})
    except BadPatch as error:
        print(error)
        return 1
    if only_apply:
        return see_that_all_apply(mutants, root)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [copy(root, Path(folder) / str(number)) for number in range(AT_ONCE)]
        for each in copies:
            compile_all(each)
        if not proven and not passes_without_faults(mutants, copies[0]):
            return 1
        verdicts = try_all(mutants, copies)
    return report(verdicts)


def read_all(folder: Path, names: set[str]) -> list[Mutant]:
    """Read the patches of a folder, all of them or those named."""
    paths = sorted(folder.glob("*.patch"))
    if not paths:
        raise BadPatch(f"There is no patch in {folder}")
    if unknown := names - {path.stem for path in paths}:
        raise BadPatch(f"No such patch: {', '.join(sorted(unknown))}")
    return [read(path) for path in paths if not names or path.stem in names]


def read(path: Path) -> Mutant:
    header = {}
    for line in path.read_text().splitlines():
        key, colon, value = line.removeprefix("# ").partition(": ")
        if not line.startswith("# ") or not colon:
            break
        header[key] = value.strip()
    try:
        return Mutant(path.stem, path, header["test"], header["breaks"], header.get("database", "sqlite"))
    except KeyError as missing:
        raise BadPatch(f"{path.name} has no line '# {missing.args[0]}: ...' at its top") from None


def see_that_all_apply(mutants: list[Mutant], root: Path) -> int:
    """Say which faults the code has moved away from."""
    tries = ((mutant, git_apply(mutant.patch, root, "--check")) for mutant in mutants)
    stale = [(mutant.name, tried.stderr) for mutant, tried in tries if tried.returncode]
    for name, why in stale:
        print(f"{name} no longer applies, make its patch again: {why.strip()}")
    return 1 if stale else 0


def copy(root: Path, target: Path) -> Path:
    """Copy the project as it is now: what git tracks, and what is new and not ignored."""
    listing = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=root, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)
    return target


def compile_all(folder: Path) -> None:
    """Keep byte code that goes by what a file says, not by when it was written: a fault is compiled anew."""
    how = ["-m", "compileall", "-q", "--invalidation-mode", "checked-hash"]
    subprocess.run([sys.executable, *how, str(folder)], check=True)


def passes_without_faults(mutants: list[Mutant], folder: Path) -> bool:
    """Run all named tests on the unchanged copy: a test that fails anyway proves nothing."""
    for database in sorted({mutant.database for mutant in mutants}):
        tests = sorted({mutant.test for mutant in mutants if mutant.database == database})
        done = run_tests([*TOGETHER, *tests], folder, database, limit=ALL_SECONDS)
        if done.returncode == 1:  # A busy machine makes some of them late; alone they have room.
            failed = re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
            print(f"once more, alone: {', '.join(failed)}", flush=True)
            done = run_tests(failed, folder, database, limit=ALL_SECONDS)
        if done.returncode != 0:
            print(done.stdout + done.stderr)
            print(f"mutants FAILED: a named test fails without any fault ({database})")
            return False
    return True


def try_all(mutants: list[Mutant], copies: list[Path]) -> list[Verdict]:
    free: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for folder in copies:
        free.put(folder)

    def take_turn(mutant: Mutant) -> Verdict:
        folder = free.get()
        try:
            verdict = judge(mutant, folder)
            # A race that the fault opens is not lost every time.
            return judge(mutant, folder) if verdict.result == SURVIVED else verdict
        finally:
            free.put(folder)

    with ThreadPoolExecutor(len(copies)) as pool:
        return list(pool.map(take_turn, mutants))


def judge(mutant: Mutant, folder: Path) -> Verdict:
    """Plant one fault, run its test, and take the fault out again."""
    began = time.monotonic()
    planted = git_apply(mutant.patch, folder)
    if planted.returncode != 0:
        return Verdict(mutant, "does not apply", 0.0, planted.stderr)
    try:
        done = run_tests([mutant.test], folder, mutant.database, limit=LIMIT_SECONDS)
        result = {0: SURVIVED, 1: CAUGHT}.get(done.returncode, f"broken run, pytest exit {done.returncode}")
        output = done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        result, output = f"broken run, over {LIMIT_SECONDS} s", ""
    finally:
        git_apply(mutant.patch, folder, "--reverse").check_returncode()
    return Verdict(mutant, result, time.monotonic() - began, output)


def git_apply(patch: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "apply", *options, str(patch)], cwd=folder, capture_output=True, text=True)


def run_tests(
    tests: list[str], folder: Path, database: str, *, limit: float
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",  # It takes a second to load; its tests run without it.
        "-m",
        "",
        "--database",
        database,
    ]
    environment = {name: value for name, value in os.environ.items() if name not in OUTER_RUN}
    # No byte code of faults: two in one second would be one for the cache. That of the rest is there.
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.run(
        [*command, *tests], cwd=folder, env=environment, capture_output=True, text=True, timeout=limit
    )


def report(verdicts: list[Verdict]) -> int:
    """Print a table and what went wrong; return the exit code."""
    wrong = [verdict for verdict in verdicts if verdict.result != CAUGHT]
    for verdict in wrong:
        print(f"--- {verdict.mutant.name}: {verdict.mutant.test}\n{verdict.output[-3000:]}")
    width = max((len(verdict.mutant.name) for verdict in verdicts), default=0)
    for verdict in verdicts:
        mutant = verdict.mutant
        print(f"{mutant.name:{width}}  {verdict.result:8}  {verdict.seconds:5.1f} s  {mutant.breaks}")
    print(f"mutants {'FAILED' if wrong else 'ok'}: {len(verdicts) - len(wrong)} of {len(verdicts)} caught")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
