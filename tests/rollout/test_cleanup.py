import pytest
from django.core.management import call_command

from tests.trial import FIRST, SECOND

pytestmark = pytest.mark.django_db


def turn_on(flag):
    from mirroring.flags.changes import Change, Origin, change_flag

    change_flag(flag, Change(on=True), by="t", origin=Origin.CLI, why="", overrides=frozenset({"all"}))


def verdict(flag, course, days=0):
    from mirroring.rollout import cleanup

    return cleanup.verdict(flag, now=course.at(days * 86400 + 5))


def test_a_flag_may_go_when_it_has_been_on_for_all_for_a_day(course):
    assert "off" in verdict(FIRST, course).reasons[0]
    turn_on(FIRST)
    assert "less than a day" in verdict(FIRST, course).reasons[0]

    assert verdict(FIRST, course, days=2).may_go


def test_one_that_requires_another_goes_after_that(course):
    turn_on(SECOND)

    assert FIRST in verdict(SECOND, course, days=2).reasons[0]


def test_a_rollout_under_way_keeps_it(course):
    course.start()

    assert not verdict(FIRST, course).may_go


@pytest.mark.parametrize("origin", ["chatops", "api", "cli"])
def test_a_file_is_written_for_who_is_at_the_machine_only(origin, tmp_path, course):
    from mirroring.chatops import running
    from mirroring.chatops.act import Caller
    from mirroring.flags.changes import Origin

    path = tmp_path / "removal.patch"
    answer = running.here(
        ["feature", "cleanup", FIRST, "--patch", str(path)], caller=Caller("t", Origin(origin))
    )

    assert answer.ok is path.exists() is (origin == "cli")


def test_the_command_ends_with_one_where_the_flag_may_not_go(course, capsys):
    with pytest.raises(SystemExit) as ended:
        call_command("feature", "cleanup", FIRST)

    assert ended.value.code == 1
    assert f"{FIRST} may not go: it is off" in capsys.readouterr().err


def test_the_changelog_gets_its_line_under_unreleased():
    from mirroring.rollout.cleanup import released

    text = released("# C\n\n## Unreleased\n\n### Added\n- a\n\n## 0.1\n- b\n", "x")
    assert text.index("`x`") < text.index("## 0.1")
    again = released(text, "y")
    assert again.count("### Removed") == 1
