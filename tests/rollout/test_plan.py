from datetime import timedelta

import pytest

from tests.trial import FIRST, SECOND

pytestmark = pytest.mark.django_db


def lines(flag, course, seconds=0):
    from mirroring.rollout import plan

    return {line.item.key: line for line in plan.plan(flag, now=course.at(seconds))}


def tick(item, course, *, by="Ada", evidence="https://issues.example/1", seconds=0):
    from mirroring.rollout import plan

    return plan.tick(FIRST, item, by=by, evidence=evidence, now=course.at(seconds))


def test_every_line_of_the_seed_s_checklist_is_there(course):
    assert set(lines(FIRST, course)) == {
        "deployed", "required_stable", "on_elsewhere", "qa_result", "change_issue", "cover", "docs_updated",
        "announced_team", "announced_production", "announced_support", "announced_issue", "guards_green",
        "on_here", "stable", "released", "cleaned_up", "cleanup_deployed", "feature_closed", "deleted",
        "issue_closed",
    }  # fmt: skip


def test_what_only_a_person_can_tick_shows_who_did_and_on_what_evidence(course):
    assert not lines(FIRST, course)["qa_result"].done
    tick("qa_result", course, by="Ada", evidence="https://issues.example/1#qa")
    line = lines(FIRST, course)["qa_result"]

    assert (line.done, line.by, line.evidence) == (True, "Ada", "https://issues.example/1#qa")


@pytest.mark.parametrize(
    ("item", "by", "evidence", "says"),
    [
        ("guards_green", "Ada", "I looked", "ticks itself"),
        ("nonsense", "Ada", "x", "no item"),
        ("qa_result", "Ada", " ", "evidence"),
        ("qa_result", "", "x", "who says so"),
        ("announced_team", "Ada", "soon", "expected time"),
    ],
)
def test_a_tick_without_a_person_evidence_or_time_is_refused(course, item, by, evidence, says):
    from mirroring.rollout.rolling_back import RolloutRefused

    with pytest.raises(RolloutRefused, match=says):
        tick(item, course, by=by, evidence=evidence)


def test_an_announcement_names_the_time(course):
    tick("announced_team", course, evidence="told #g_scalability: 2026-05-01T14:00Z")

    assert lines(FIRST, course)["announced_team"].done


def test_cover_holds_for_two_hours(course):
    tick("cover", course, evidence="Ada until 16:00")

    assert lines(FIRST, course, 7199)["cover"].done
    assert not lines(FIRST, course, 7201)["cover"].done


def test_deployed_means_that_every_live_worker_knows_the_flag(course, tracker):
    life = timedelta(seconds=60)
    tracker.announce("new", slots=1, flags={FIRST: False}, life=life)
    assert lines(FIRST, course)["deployed"].done

    tracker.announce("old", slots=1, flags={"other": True}, life=life)
    line = lines(FIRST, course)["deployed"]
    assert not line.done
    assert "old" in line.evidence


def test_the_guards_of_its_rollout_tick_themselves(course):
    assert not lines(FIRST, course)["guards_green"].done
    course.start()
    course.samples(6, 62)
    course.drive(62)

    found = lines(FIRST, course, 63)
    assert found["guards_green"].done
    assert found["on_here"].done
    assert not found["stable"].done
    assert lines(FIRST, course, 2 * 86400)["stable"].done


def test_on_by_a_lease_is_not_yet_on(course):
    course.start()

    assert not lines(FIRST, course)["on_here"].done


def test_a_rolled_back_rollout_is_not_green(course):
    course.start()
    course.samples(6, 20, slots_leaked=1.0)
    course.drive(22)

    assert not lines(FIRST, course)["guards_green"].done


def test_the_flag_that_it_requires_has_to_be_stable(course):
    assert not lines(SECOND, course)["required_stable"].done
    assert lines(FIRST, course)["required_stable"].done


def test_the_plan_of_a_flag_that_was_cleaned_up_can_be_brought_to_its_end(course):
    from mirroring.flags.registry import UnknownFlag
    from mirroring.models import PlanTick
    from mirroring.rollout import plan

    words = {"by": "Ada", "evidence": "closed", "now": course.at(0)}
    with pytest.raises(UnknownFlag):
        plan.tick("cleaned_up", "issue_closed", **words)
    PlanTick.objects.create(
        flag="cleaned_up", item="cover", at=course.at(0), by="Ada", kind="person", evidence="x"
    )

    assert plan.tick("cleaned_up", "issue_closed", **words).item == "issue_closed"
