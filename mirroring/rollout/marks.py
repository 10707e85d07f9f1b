"""What is to go with a flag, as the code itself says: a line that ends with `goes with NAME` in a comment.

Such a line goes; if a statement of Python begins there or right below, all of it, decorators included; if it is the
first of a file, the file. A numbered row of a table in the docs stays and says that what it told is gone. So the branch
of a flag that is off, and the tests of it, are marked where they stand.
"""

import ast
import re
from collections.abc import Iterator


def without(text: str, flag: str, *, python: bool) -> str | None:
    """Return a text without what goes with a flag; None: nothing of it stays."""
    mark = re.compile(rf"goes with {re.escape(flag)}\b")
    lines = text.splitlines(keepends=True)
    marked = {number for number, line in enumerate(lines, start=1) if mark.search(line)}
    if not marked:
        return text
    if 1 in marked and python:
        return None
    if not python:
        return "".join(_row(line) if number in marked else line for number, line in enumerate(lines, start=1))
    gone = set(marked)
    for marks, span in _statements(text, lines):
        if marks & marked:
            gone |= span
    return "".join(_closed_up(lines, gone))


def _row(line: str) -> str:
    """Return what is left of a marked line of the docs."""
    if not re.match(r"\| \d+ \|", line):
        return ""
    number, case, *others = line.strip().strip("|").split(" | ")
    return (
        " | ".join([f"|{number}", case, *["does not apply, because its flag is gone"] * len(others)]) + " |\n"
    )


def _statements(text: str, lines: list[str]) -> Iterator[tuple[set[int], set[int]]]:
    """Return for each statement the lines where it may be marked, and all of its lines, decorators included."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.stmt):
            begins = min(each.lineno for each in (node, *getattr(node, "decorator_list", [])))
            above = begins
            while above > 1 and lines[above - 2].lstrip().startswith("#"):
                above -= 1
            yield {*range(above, begins + 1), node.lineno}, {*range(above, (node.end_lineno or begins) + 1)}


def _closed_up(lines: list[str], gone: set[int]) -> list[str]:
    """Return the lines that stay. Of the blank ones on both sides of what is gone the longer run stays."""
    kept: list[str] = []
    before: int | None = (
        None  # Blank lines before what is gone, while we are behind it and see nothing but such.
    )
    after = 0
    for number, line in enumerate(lines, start=1):
        if number in gone:
            before, after = _blank_at_end(kept) if before is None else max(before, after), 0
        elif before is not None and not line.strip():
            after += 1
        else:
            if before is not None and after > before:
                kept += ["\n"] * (after - before)
            before, after = None, 0
            kept.append(line)
    return kept if before is None else kept[: len(kept) - _blank_at_end(kept)]


def _blank_at_end(lines: list[str]) -> int:
    number = 0
    while number < len(lines) and not lines[-1 - number].strip():
        number += 1
    return number
