"""The lists of mirrors that commands are given: reading them, and saying what is wrong with them."""

import sys
from pathlib import Path

from mirroring.catalog.errors import BadList
from mirroring.catalog.lists import MAX_BYTES
from mirroring.management.failures import Failed


def read_list_file(file: str) -> bytes:
    """Return the list; one byte too many is enough to see that it is too large."""
    try:
        if file == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with Path(file).open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise Failed(f"{file} cannot be read ({error.strerror}): give the path of a list, or '-'") from None


def complaint(file: str, error: BadList) -> str:
    """Return what is wrong with the lines of a list."""
    lines = [f"{file}:{problem.line}: {problem.text}" for problem in error.problems[: BadList.SHOWN]]
    if len(error.problems) == 1:
        return f"{lines[0]}. Nothing was added"
    return "\n".join([*lines, f"{len(error.problems)} lines cannot be used. Nothing was added"])
