"""The end of a flag: may it go, where is it still named, and the patch that takes it out."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings

from mirroring.flags import readings, registry
from mirroring.models import Rollout
from mirroring.models.rollout import ACTIVE
from mirroring.rollout.marks import without

STABLE = timedelta(days=1)
FOLDERS = {
    "mirroring": "code",
    "config": "code",
    "scripts": "code",
    "tests": "tests",
    "docs": "docs",
    "bench": "tests",
}
SUFFIXES = {".py", ".yml", ".yaml", ".md", ".html", ".lua", ".toml", ".patch", ".txt", ".css"}
DEFINITIONS = "mirroring/flags/definitions/"
CHANGELOG = "CHANGELOG.md"
HEADING = "### Removed"


@dataclass(frozen=True)
class Reference:
    """One line that names a flag. `by_hand`: the patch leaves it to a person."""

    path: str
    line: int
    text: str
    kind: str
    by_hand: bool


@dataclass(frozen=True)
class Verdict:
    """Whether a flag may go, and what is in the way."""

    may_go: bool
    reasons: list[str]


def verdict(flag: str, *, now: datetime) -> Verdict:
    """Say whether the code may take the flag for on."""
    state = readings.read(flag, now=now).state
    reasons = []
    if not state.for_all:
        reasons.append(f"it is {state.words()}, not on for all")
    required = registry.definition(flag).requires
    if required is not None:
        reasons.append(f"it requires {required.flag}, which is still a flag: clean that up first")
    if state.on_until is not None:
        reasons.append("it is on by the lease of a rollout only")
    if Rollout.objects.filter(flag=flag, state__in=ACTIVE).exists():
        reasons.append("a rollout of it is under way")
    if state.for_all and state.on_since and now - state.on_since < STABLE:
        reasons.append(f"it has been on for less than a day: since {state.on_since:%Y-%m-%d %H:%M} UTC")
    return Verdict(not reasons, reasons)


def references(flag: str, root: Path | None = None) -> list[Reference]:
    """Return every line in code, definitions, tests and docs that names the flag."""
    root = root or settings.BASE_DIR
    words = re.compile(rf"\b({re.escape(flag)}|{flag.upper()})\b")
    found = []
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        if CHANGELOG in name:
            continue
        before = path.read_text(errors="replace")
        after = removed(name, before, flag)
        left = set((after or "").splitlines())
        for number, line in enumerate(before.splitlines(), start=1):
            if words.search(line):
                by_hand = after is not None and line in left
                found.append(Reference(name, number, line.strip(), _kind(name), by_hand))
    return found


def _files(root: Path) -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted(path for path in (root / folder).rglob("*") if path.suffix in SUFFIXES)
    yield from sorted(root.glob("*.md"))


def _kind(name: str) -> str:
    if name.startswith(DEFINITIONS):
        return "definition"
    return FOLDERS.get(name.partition("/")[0], "docs")


def removed(name: str, text: str, flag: str) -> str | None:
    """Return a file as it is without the flag, which holds for on from now; None: the file goes."""
    member = flag.upper()
    if name == f"{DEFINITIONS}{flag}.yml":
        return None
    if name.startswith(DEFINITIONS):
        text = re.sub(rf"\s+Needs {flag}, on and stable\.", "", text)
        return re.sub(rf"requires:\n  flag: {flag}\n  stable_for: \S+\n", "requires: null\n", text)
    left = without(text, flag, python=name.endswith(".py"))
    if left is None:
        return None
    if name.endswith(".md"):
        return re.sub(rf"\n## {flag}\n.*?(?=\n## |\Z)", "", left, flags=re.DOTALL)
    if _kind(name) != "code" or not name.endswith(".py"):
        return left
    left = re.sub(rf'^    {member} = "{flag}"\n', "", left, flags=re.MULTILINE)
    left = re.sub(rf"\bflags\[FlagName\.{member}\]", "True", left)
    return re.sub(r"\n{4,}", "\n\n\n", left)


def released(text: str, flag: str) -> str:
    """Return the changelog with the line that says that the flag is gone."""
    line = f"- The feature flag `{flag}`: what it guarded is permanent.\n"
    unreleased = text.index("## Unreleased")
    end = text.find("\n## ", unreleased + 1)
    section = text[unreleased:] if end < 0 else text[unreleased:end]
    if f"{HEADING}\n" in section:
        section = section.replace(f"{HEADING}\n", f"{HEADING}\n{line}", 1)
    else:
        section = f"{section.rstrip()}\n\n{HEADING}\n{line}"
    return text[:unreleased] + section + ("" if end < 0 else text[end:])


def patch(flag: str, root: Path | None = None) -> str:
    """Return the removal as a patch for `git apply`: code, definitions and the line of the changelog."""
    root = root or settings.BASE_DIR
    registry.named(flag)
    changed: list[str] = []
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        before = path.read_text(errors="surrogateescape")
        after = released(before, flag) if name == CHANGELOG else removed(name, before, flag)
        if after != before:
            changed.append(_difference(name, before, after))
    return "".join(changed)


def verify_gone(flag: str, root: Path) -> bool:
    """Say whether no line of code or definition in a checkout names the flag."""
    return not [each for each in references(flag, root) if each.kind in {"code", "definition"}]


def _difference(name: str, before: str, after: str | None) -> str:
    to = "/dev/null" if after is None else f"b/{name}"
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), (after or "").splitlines(keepends=True), f"a/{name}", to
    )
    head = f"diff --git a/{name} b/{name}\n"
    head += "deleted file mode 100644\n" if after is None else ""
    return head + "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
