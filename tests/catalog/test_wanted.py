import pytest

from mirroring.catalog.errors import Invalid
from mirroring.catalog.wanted import Refs, check_name, check_refs, want
from mirroring.models import RefSelection


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("example.org:team/project.git", "write https://"),
        ("ftp://example.org/project", "use https://"),
        ("https://me:secret@example.org/project", "write it without"),
        ("https://example.org", "names no repository"),
        ("https://example.org/" + "x" * 2000, "longer than 2000"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_what_to_write_instead(url, hint):
    with pytest.raises(Invalid, match=hint):
        want(url)


def test_a_refusal_does_not_repeat_a_password():
    with pytest.raises(Invalid) as refusal:
        want("https://me:secret@example.org/project")

    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".git", "x.git", "-x", "a b", "x\n", "é", "x" * 201])
def test_a_name_that_is_no_path_segment_is_refused(name):
    with pytest.raises(Invalid, match="cannot be the name of a group"):
        check_name(name, what="group")


def test_refs_are_branches_and_tags_where_nothing_is_said():
    assert check_refs() == Refs(RefSelection.DEFAULT, ())


def test_patterns_need_no_selection_and_are_kept_once():
    refs = check_refs(None, ["refs/heads/main", "refs/tags/v*", "refs/heads/main"])

    assert refs == Refs(RefSelection.PATTERNS, ("refs/heads/main", "refs/tags/v*"))


@pytest.mark.parametrize(
    ("selection", "patterns", "hint"),
    [
        ("patterns", [], "needs a pattern"),
        ("all", ["refs/heads/main"], "leave one of them out"),
        ("everything", [], "use default, all, patterns"),
        (None, [f"refs/heads/{number}" for number in range(101)], "at most 100"),
    ],
)
def test_a_selection_and_patterns_that_contradict_each_other_are_refused(selection, patterns, hint):
    with pytest.raises(Invalid, match=hint):
        check_refs(selection, patterns)


@pytest.mark.parametrize(
    "pattern",
    [
        "refs/heads/*/x/*",
        "refs/heads/..",
        "refs/heads/a b",
        "refs/heads/x:refs/heads/y",
        "refs/heads/~1",
        "refs/heads/x^",
        "refs/heads/[ab]",
        "refs/heads/x?",
        "refs/heads/\\x",
        "refs/heads/x@{1}",
        "refs/heads//x",
        "refs/heads/.x",
        "refs/heads/x.lock",
        "refs/heads/x.lock/y",
        "refs/heads/x/",
        "refs/heads/x.",
        "refs/heads/x\x1b[31m",
        "refs/heads/x\n",
        "refs/heads/\u202ex",
        "refs/heads/" + "x" * 255,
        "refs/",
    ],
)
def test_a_pattern_that_git_would_refuse_is_refused(pattern):
    with pytest.raises(Invalid, match="no ref name with at most one"):
        check_refs(None, [pattern])


@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        ("main", "refs/heads/main"),
        ("release/*", r"refs/heads/release/\*"),
        ("^refs/heads/x", "refs/heads/main"),
        ("", "refs/heads/main"),
    ],
)
def test_a_short_pattern_is_refused_with_its_long_form(pattern, advice):
    with pytest.raises(Invalid, match=f"write, say, {advice}$"):
        check_refs(None, [pattern])
