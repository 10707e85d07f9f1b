from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from tests.trial import FIRST, SECOND

pytestmark = pytest.mark.django_db


def test_on_is_a_lease_of_two_intervals_while_a_rollout_runs(course):
    course.start(interval=60)

    assert course.on(seconds=119)
    assert not course.on(seconds=121)


def test_a_driver_renews_the_lease(course):
    course.start()
    course.sample(8)
    course.drive(10)

    assert course.on(seconds=129)
    assert not course.on(seconds=131)


def test_a_second_rollout_of_a_flag_is_refused_while_one_is_under_way(course):
    from mirroring.rollout.controller import RolloutRefused

    course.start(shadow=True)

    with pytest.raises(RolloutRefused, match="under way"):
        course.start()
    course.start(SECOND, shadow=True)


def test_the_database_itself_keeps_rollouts_of_a_flag_one_at_a_time(course):
    rollout = course.start()
    rollout.pk = None

    with pytest.raises(IntegrityError), transaction.atomic():
        rollout.save()


def test_a_gate_that_refuses_leaves_no_rollout_behind(course):
    from mirroring.flags.changes import FlagRefused
    from mirroring.models import Rollout

    with pytest.raises(FlagRefused, match=FIRST):
        course.start(SECOND)

    assert not Rollout.objects.exists()
    assert not course.on(SECOND)


def test_without_samples_from_before_nothing_is_started(course):
    from mirroring.models import MetricSample
    from mirroring.rollout.controller import RolloutRefused

    MetricSample.objects.all().delete()

    with pytest.raises(RolloutRefused, match="no samples"):
        course.start()


def test_good_samples_bring_it_through_and_on_is_no_lease_any_more(course):
    course.start(interval=60)
    course.samples(6, 62)
    rollout = course.drive(62)

    assert rollout.state == "done"
    assert course.on(seconds=86400)


def test_a_step_lasts_its_interval_however_good_the_samples(course):
    course.start(interval=60)
    course.samples(6, 50)

    assert course.drive(50).state == "running"


def test_a_bad_sample_turns_the_flag_off_and_ends_the_rollout(course, heard):
    course.start()
    course.samples(6, 20, slots_leaked=1.0)
    rollout = course.drive(22)

    assert rollout.state == "rolled back"
    assert not course.on(seconds=22)
    assert "slots_leaked" in rollout.why
    assert rollout.breach_at == course.at(16)
    assert [each.kind for each in heard][-2:] == ["swept", "confirmed"]


def test_a_rollback_asks_no_gate(course):
    from mirroring.models import ChangeFreeze

    course.start()
    ChangeFreeze.begin("an incident", by="somebody", now=course.at(1))
    course.samples(6, 20, slots_leaked=1.0)

    assert course.drive(22).state == "rolled back"
    assert not course.on(seconds=22)


def test_the_clean_up_takes_away_what_the_flag_left_in_redis(course, tracker, redis_client):
    tracker.admit(["1:1"], capacity=5, lease=timedelta(minutes=1), enforce=False)
    tracker.refill(by_event=True)
    course.start()
    course.samples(6, 20, slots_leaked=1.0)
    course.drive(22)

    assert redis_client.exists("{mirroring}:processing", "{mirroring}:refill", "{mirroring}:wake") == 0


def test_no_samples_hold_it_where_it_is_and_new_ones_let_it_go_on(course, heard):
    course.start(interval=300)
    for seconds in (21, 42, 63):
        assert course.drive(seconds).state == "running"
    assert course.drive(84).state == "held"
    assert course.on(seconds=84)

    course.samples(85, 100)
    assert course.drive(100).state == "running"
    assert [each.kind for each in heard if each.kind in {"held", "resumed"}] == ["held", "resumed"]


def test_errors_in_asking_hold_it_and_take_nothing_back(course):
    course.start(interval=300)
    for seconds in (10, 15, 20, 25):
        course.sample(seconds, errors={"redis_calls": "Redis is away"})
        rollout = course.drive(seconds + 1)

    assert rollout.state == "held"
    assert "query_error" in rollout.why
    assert course.on(seconds=26)


def test_too_few_samples_count_only_once_the_step_could_be_left(course):
    course.start(interval=60)
    course.sample(57)
    assert course.drive(58).tally.get("too_few", 0) == 0

    course.sample(62)
    assert course.drive(63).tally["too_few"] == 1


def test_a_budget_may_say_hold_where_a_value_is_bad(course):
    from mirroring.rollout.guards import Action, Budget, Budgets

    course.start(budgets=Budgets(bad=Budget(0, Action.HOLD)))
    course.samples(6, 20, slots_leaked=1.0)

    assert course.drive(22).state == "held"
    assert course.on(seconds=22)


def test_a_pause_takes_no_step_and_leaves_the_guards_armed(course):
    from mirroring.rollout import controller

    course.start()
    controller.pause(FIRST, by="tester")
    course.samples(6, 70)
    assert course.drive(70).state == "paused"
    assert course.on(seconds=189)

    course.samples(71, 86, slots_leaked=9.0)
    assert course.drive(86).state == "rolled back"


def test_what_was_paused_goes_on_when_it_is_resumed(course):
    from mirroring.rollout import controller

    course.start()
    controller.pause(FIRST, by="tester")
    controller.resume(FIRST, by="tester")
    course.samples(6, 62)

    assert course.drive(62).state == "done"


def test_a_flag_that_somebody_turned_off_stays_off(course):
    from mirroring.flags.changes import Change, Origin, change_flag

    course.start()
    change_flag(FIRST, Change(on=False), by="somebody", origin=Origin.CLI, why="enough")
    course.sample(8)

    assert course.drive(10).state == "aborted"
    assert not course.on(seconds=10)


def test_a_flag_that_somebody_turned_on_for_good_is_left_to_him(course):
    from mirroring.flags.changes import Change, Origin, change_flag

    course.start()
    change_flag(FIRST, Change(on=True), by="somebody", origin=Origin.CLI, why="I know")

    assert course.drive(10).state == "aborted"
    assert course.on(seconds=86400)


def test_a_lease_that_has_ended_is_never_renewed(course, heard):
    course.start(interval=60)
    course.samples(6, 130)
    rollout = course.drive(130)

    assert rollout.state == "lapsed"
    assert not course.on(seconds=130)
    assert "renewed" in rollout.why


def test_a_shadow_rollout_judges_and_changes_nothing(course, heard):
    from mirroring.models import FlagChange

    course.start(shadow=True)
    course.samples(6, 20, slots_leaked=1.0)
    rollout = course.drive(22)

    assert rollout.state == "rolled back"
    assert not FlagChange.objects.exists()
    assert "would have been rolled back" in heard[-1].text


def test_a_shadow_rollout_leaves_a_flag_on_that_is_on(course):
    from mirroring.flags.changes import Change, Origin, change_flag

    change_flag(FIRST, Change(on=True), by="somebody", origin=Origin.CLI, why="")
    course.samples(1, 4)
    course.start(shadow=True, seconds=3)
    course.samples(10, 30, slots_leaked=1.0)
    course.drive(30)

    assert course.on(seconds=86400)


def test_of_two_drivers_at_once_only_one_goes_on(course):
    from mirroring.models import Rollout
    from mirroring.rollout.driving import drive

    course.start()
    course.samples(6, 62)
    one, other = Rollout.objects.get(), Rollout.objects.get()
    drive(one, now=course.at(62), tracker=course.tracker)
    drive(other, now=course.at(62), tracker=course.tracker)

    rollout = Rollout.objects.get()
    assert rollout.state == "done"
    assert rollout.events.filter(kind="done").count() == 1


def test_a_subscriber_that_breaks_is_not_in_the_way_of_a_rollback(course):
    from mirroring.rollout import announcing

    def breaks(announcement):
        raise RuntimeError("Slack is down")

    course.start()
    announcing.subscribe(breaks)
    try:
        course.samples(6, 20, slots_leaked=1.0)
        assert course.drive(22).state == "rolled back"
    finally:
        announcing.unsubscribe(breaks)
    assert not course.on(seconds=22)


def test_it_rolls_back_with_redis_down_and_says_who_could_not_be_asked(course, away):
    course.start()
    course.samples(6, 20, slots_leaked=1.0)
    course.tracker = away
    from mirroring.models import Rollout
    from mirroring.rollout.rolling_back import Cause, roll_back

    rollout = roll_back(Rollout.objects.get(), Cause("by hand", by="tester"), tracker=away, wait=timedelta(0))

    assert not course.on(seconds=22)
    assert rollout.confirmed_at is None
    assert "Redis is away" in rollout.lagging[0]


def test_workers_that_still_see_it_on_are_named_and_asked_again(course, tracker):
    from mirroring.models import Rollout
    from mirroring.rollout.rolling_back import Cause, roll_back

    life = timedelta(seconds=60)
    tracker.announce("slow", slots=1, flags={FIRST: True}, life=life)
    rollout = course.start()
    roll_back(rollout, Cause("by hand", by="tester"), tracker=tracker, wait=timedelta(0))
    assert Rollout.objects.get().lagging == ["slow"]

    tracker.announce("slow", slots=1, flags={FIRST: False}, life=life)
    rollout = course.drive(1)
    assert rollout.lagging == []
    assert rollout.confirmed_at is not None


def test_what_a_worker_said_before_the_flag_went_off_proves_nothing(course, tracker):
    from mirroring.rollout.rolling_back import seeing

    tracker.announce("early", slots=1, flags={FIRST: False}, life=timedelta(seconds=60))

    assert seeing(FIRST, tracker=tracker, mark=tracker.now() + timedelta(seconds=1)) == ["early"]
    assert seeing(FIRST, tracker=tracker, mark=None) == []


def test_aborting_turns_off_a_flag_that_has_no_rollout_too(course):
    from mirroring.flags.changes import Change, Origin, change_flag
    from mirroring.rollout import controller

    change_flag(FIRST, Change(on=True), by="somebody", origin=Origin.CLI, why="")
    rollout = controller.abort(FIRST, by="tester", why="enough", tracker=course.tracker)

    assert not course.on()
    assert rollout.state == "aborted"
    assert rollout.confirmed_at is not None


def test_a_flag_by_mirror_rises_by_shares_and_each_is_a_lease(course, by_mirror):
    from mirroring.flags.readings import read

    course.start(by_mirror, steps=("10", "100"))
    assert read(by_mirror, now=course.at(1)).state.percentage == 10
    course.samples(6, 62)
    course.drive(62)

    state = read(by_mirror, now=course.at(63)).state
    assert (state.percentage, state.on_until) == (100, course.at(62 + 120))
    assert read(by_mirror, now=course.at(183)).state.words() == "off"


def test_a_share_is_refused_for_a_global_flag(course):
    from mirroring.rollout.steps import BadSteps

    with pytest.raises(BadSteps, match="for all"):
        course.start(steps=("10", "100"))
