import json

import pytest

from mirroring.catalog.errors import BadList, Invalid
from mirroring.catalog.lists import MAX_BYTES, read_list
from mirroring.models import RefSelection

A, B = "https://git.example.org/team/a", "https://git.example.org/team/b"


def paths(text: str, **options: object) -> list[tuple[int, str]]:
    return [(line, wanted.path) for line, wanted in read_list(text.encode(), **options)]


def problems(text: str) -> list[tuple[int, str]]:
    with pytest.raises(BadList) as refusal:
        read_list(text.encode())
    return [(problem.line, problem.text) for problem in refusal.value.problems]


def test_a_plain_list_holds_one_url_a_line_comments_and_blank_lines():
    text = f"\ufeff# ours\r\n\r\n{A}\r\n  {B}   # the other\r\n"

    assert paths(text) == [(3, "default/a"), (4, "default/b")]


def test_csv_is_known_by_its_header_in_any_order_of_columns():
    text = f'# ours\nName, "URL",group,refs\none,{A},tools,all\n,{B},,"refs/heads/main refs/tags/*"\n'

    listed = read_list(text.encode())

    assert [(line, wanted.path, wanted.refs.selection) for line, wanted in listed] == [
        (3, "tools/one", RefSelection.ALL),
        (4, "default/b", RefSelection.PATTERNS),
    ]
    assert listed[1][1].refs.patterns == ("refs/heads/main", "refs/tags/*")


def test_json_holds_urls_and_objects():
    text = json.dumps([A, {"url": B, "name": "bee", "group": None, "refs": ["refs/heads/main"]}], indent=1)

    listed = read_list(text.encode())

    assert [(line, wanted.path) for line, wanted in listed] == [(2, "default/a"), (3, "default/bee")]
    assert listed[1][1].refs.patterns == ("refs/heads/main",)


def test_the_group_of_lines_that_name_none_is_given_or_taken_from_the_url():
    text = f"url,group\n{A},own\n{B}\n"

    assert paths(text, group="given") == [(2, "own/a"), (3, "given/b")]
    assert paths(text, group_from_url=True) == [(2, "own/a"), (3, "team/b")]


def test_all_bad_lines_are_named_at_once():
    found = problems(f"{A}\nftp://example.org/x\n{B}\nhttps://me:pw@example.org/x\n")

    assert [line for line, _ in found] == [2, 4]
    assert "ftp:// is not accepted" in found[0][1]
    assert "pw" not in found[1][1]


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        (f"{A} {B}", 1, "not one URL"),
        (f"# ours\n{A},name", 2, "not one URL"),
        (f"url,branch\n{A},main", 1, "the header has 'branch': use each of url, name"),
        (f"url,branch,tag\n{A},main,x", 1, "the header has 'branch', 'tag': "),
        (f"url,url\n{A},{B}", 1, "the header has 'url': use each of url"),
        (f"url,name\n{A},a,b", 2, "3 values under a header of 2"),
        (f'url,name\n{A},"a', 2, "check its quotes"),
        (f'url,name\n"{A}\n",a\n,b', 4, "the url is missing"),
        (f"url,refs\n{A},main", 2, "'main' selects no refs"),
        (f'[\n"{A}",\n"{B}"\n"{A}"]', 4, "(Expecting ',' or ']': column 1, at '\"https://git.example"),
        (f'["{A}",\n', 2, "(Expecting value: column 1, where the line ends)"),
        (f'["{A}"]\nmore', 2, "after the end"),
        ('{"url": "x"}', 1, "the JSON is no list"),
        (f'["{A}",\n\n3]', 3, "neither a URL nor an object"),
        (f'[{{"url": "{A}"}},\n{{"link": "{B}"}}]', 2, "unknown field 'link'"),
        ('[{"url": 7}]', 1, "a value is no text"),
        ('[{"url": "x", "refs": [7]}]', 1, "a value is no text"),
        ('[{"name": "x"}]', 1, "the url is missing"),
        ("[\n" + "9" * 5000 + "]", 2, "not JSON"),
        ("[" * 100_000, 1, "not JSON"),
    ],
)
def test_a_malformed_list_is_refused_with_the_line(text, line, hint):
    [(found, reason)] = problems(text)

    assert found == line
    assert hint in reason


def test_text_in_another_encoding_is_refused_with_its_line():
    with pytest.raises(BadList) as refusal:
        read_list(f"{A}\n".encode() + b"\xff\xfe")

    assert [problem.line for problem in refusal.value.problems] == [2]


@pytest.mark.parametrize("text", ["", "# nothing\n", "url,name\n", "[]"])
def test_a_list_without_mirrors_is_refused(text):
    with pytest.raises(Invalid, match="names no mirror"):
        read_list(text.encode())


def test_a_list_that_is_too_large_is_refused():
    with pytest.raises(Invalid, match="larger than 16 MiB"):
        read_list(b"#" * (MAX_BYTES + 1))


def test_a_long_list_of_problems_is_cut():
    with pytest.raises(BadList) as refusal:
        read_list(b"nonsense\n" * 25)

    assert len(refusal.value.problems) == 25
    assert str(refusal.value).endswith("5 more lines cannot be used either.")
