"""Reading lists of mirrors: one URL a line, CSV with a header, or JSON. One bad line refuses the whole list.

In a list of repositories to adopt each entry has a path as well; as a plain line it is `PATH URL`.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mirroring.catalog.errors import BadList, CatalogError, Invalid, Problem
from mirroring.catalog.wanted import Refs, Wanted, check_refs, check_url, want

MAX_BYTES = 16 * 1024 * 1024
"""Room for some 200,000 mirrors; they are held in memory to be checked as a whole."""

FIELDS = ("url", "name", "group", "refs", "path")

T = TypeVar("T")


@dataclass(frozen=True)
class _Entry:
    line: int
    url: str
    name: str = ""
    group: str = ""
    refs: tuple[str, ...] = ()
    path: str = ""


@dataclass(frozen=True)
class Adoption:
    """A line of a list that names a repository to adopt."""

    line: int
    source: Path
    wanted: Wanted


def read_list(data: bytes, *, group: str = "", group_from_url: bool = False) -> list[tuple[int, Wanted]]:
    """Return what the lines of a list want, by line number. Raise BadList with everything that is wrong.

    `group` is for lines that name none; with `group_from_url` it is the last folder before the repository's name.
    """

    def check(entry: _Entry) -> tuple[int, Wanted]:
        if entry.path:
            raise Invalid("It has a path: adopt the repository there with `manage.py mirror adopt-list`")
        return entry.line, _check(entry, group=group, group_from_url=group_from_url)

    return _read(data, check)


def read_adoptions(data: bytes, *, group: str = "", group_from_url: bool = False) -> list[Adoption]:
    """Return the repositories that a list asks to adopt. Raise BadList with everything that is wrong."""

    def check(entry: _Entry) -> Adoption:
        if not Path(entry.path).is_absolute():
            raise Invalid("The path of the repository is missing or not absolute: write PATH URL")
        wanted = _check(entry, group=group, group_from_url=group_from_url)
        return Adoption(entry.line, Path(entry.path), wanted)

    return _read(data, check)


def _read(data: bytes, check: Callable[[_Entry], T]) -> list[T]:
    if len(data) > MAX_BYTES:
        raise Invalid(f"The list is larger than {MAX_BYTES // 2**20} MiB: split it")
    checked: list[T] = []
    problems: list[Problem] = []
    for entry in _entries(_text(data)):
        if isinstance(entry, Problem):
            problems.append(entry)
            continue
        try:
            checked.append(check(entry))
        except CatalogError as error:
            problems.append(Problem(entry.line, str(error)))
    if problems:
        raise BadList(problems)
    if not checked:
        raise Invalid("The list names no mirror: write one URL a line, CSV with a header, or JSON")
    return checked


def _check(entry: _Entry, *, group: str, group_from_url: bool) -> Wanted:
    if group_from_url and not entry.group:
        group = check_url(entry.url).suggested_group
    return want(entry.url, group=entry.group or group, name=entry.name, refs=_refs(entry.refs))


def _refs(words: tuple[str, ...]) -> Refs:
    if len(words) == 1 and not words[0].startswith("refs/"):
        return check_refs(words[0])
    return check_refs(None, words)


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadList([Problem(line, "not UTF-8 text: save the list as UTF-8")]) from None


def _entries(text: str) -> Iterator[_Entry | Problem]:
    """Tell the three forms apart by how the list begins."""
    if text.lstrip().startswith(("[", "{")):
        return _json_entries(text)
    first = next(
        (line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")), ""
    )
    if "url" in [cell.strip().strip('"').lower() for cell in first.split(",")]:
        return _csv_entries(text)
    return _line_entries(text)


def _line_entries(text: str) -> Iterator[_Entry | Problem]:
    for number, raw in enumerate(text.split("\n"), 1):
        words = re.split(r"(?:^|\s)#", raw, maxsplit=1)[0].split()
        if len(words) == 2 and words[0].startswith("/"):
            yield _Entry(number, words[1], path=words[0])
        elif len(words) > 1 or (words and "," in words[0]):  # A comma in a URL is written %2C.
            yield Problem(
                number, "not one URL: write one a line, or CSV under a header such as url,name,group,refs"
            )
        elif words:
            yield _Entry(number, words[0])


def _csv_entries(text: str) -> Iterator[_Entry | Problem]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    header: list[str] = []
    while True:
        line = rows.line_num + 1
        try:
            row = [cell.strip() for cell in next(rows)]
        except StopIteration:
            return
        except csv.Error as error:
            yield Problem(line, f"not CSV ({error}): check its quotes")
            return
        if not any(row) or row[0].startswith("#"):
            continue
        if header:
            yield _csv_entry(line, header, row)
            continue
        header = [cell.lower() for cell in row]
        if wrong := [cell for cell in header if cell not in FIELDS or header.count(cell) > 1]:
            named = ", ".join(repr(cell[:50]) for cell in dict.fromkeys(wrong))
            yield Problem(line, f"the header has {named}: use each of {', '.join(FIELDS)} once at most")
            return


def _csv_entry(line: int, header: list[str], row: list[str]) -> _Entry | Problem:
    if len(row) > len(header):
        return Problem(
            line, f"{len(row)} values under a header of {len(header)}: put quotes round values with commas"
        )
    return _entry(line, dict(zip(header, row, strict=False)))


def _json_entries(text: str) -> Iterator[_Entry | Problem]:
    """Walk the list by hand: a plain json.loads would lose on which line an entry stands."""
    decoder = json.JSONDecoder()
    at = _skip_space(text, 0)
    if text[at] != "[":
        yield Problem(1, "the JSON is no list: put URLs or objects between [ and ]")
        return
    at, line, counted = _skip_space(text, at + 1), 1, 0
    while text[at : at + 1] != "]":
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, at = decoder.raw_decode(text, at)
            at = _skip_space(text, at)
            if text[at : at + 1] not in {",", "]"}:
                raise json.JSONDecodeError("Expecting ',' or ']'", text, at)
            at = _skip_space(text, at + 1) if text[at] == "," else at
        except (ValueError, RecursionError) as error:
            # Not JSONDecodeError alone: there are numbers of thousands of digits, and nests without end.
            yield _not_json(error, line)
            return
        yield _json_entry(line, value)
    rest = _skip_space(text, at + 1)
    if rest < len(text):
        yield Problem(
            text.count("\n", 0, rest) + 1, "there is text after the end of the JSON list: take it away"
        )


def _not_json(error: ValueError | RecursionError, line: int) -> Problem:
    if not isinstance(error, json.JSONDecodeError):
        return Problem(line, "not JSON (a wild value): write texts, and lists or objects of them")
    found = error.doc[error.pos :].partition("\n")[0][:20]
    where = f"column {error.colno}, at {found!r}" if found else f"column {error.colno}, where the line ends"
    return Problem(error.lineno, f"not JSON ({error.msg}: {where}): check its commas and quotes")


def _json_entry(line: int, value: object) -> _Entry | Problem:
    if isinstance(value, str):
        return _Entry(line, value)
    if isinstance(value, dict):
        return _entry(line, value)
    return Problem(line, "neither a URL nor an object with a url")


def _entry(line: int, fields: Mapping[str, object]) -> _Entry | Problem:
    unknown = sorted(fields.keys() - set(FIELDS))
    if unknown:
        return Problem(line, f"unknown field {unknown[0][:50]!r}: use {', '.join(FIELDS)}")
    url, name, group, refs, path = (fields.get(field) or "" for field in FIELDS)
    listed = tuple(refs) if isinstance(refs, list) else (refs,)
    if not all(isinstance(text, str) for text in (url, name, group, path, *listed)):
        return Problem(line, "a value is no text: write texts, and for refs a text or a list of texts")
    if not url:
        return Problem(line, "the url is missing")
    words = [word for text in listed for word in str(text).split()]
    return _Entry(line, str(url), name=str(name), group=str(group), refs=tuple(words), path=str(path))


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
