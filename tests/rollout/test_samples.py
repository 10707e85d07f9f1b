from datetime import timedelta

import pytest

from mirroring.rollout.guards import Direction, Guard, Kind
from mirroring.rollout.measures import FROM_REDIS
from tests.making import NOW, build_mirror

pytestmark = pytest.mark.django_db
PERIOD = timedelta(seconds=5)


@pytest.fixture
def take(tracker):
    from mirroring.rollout import samples

    def at(seconds, tracker=tracker):
        return samples.take(now=NOW + timedelta(seconds=seconds), tracker=tracker)

    return at


def test_counters_become_rates_from_one_sample_to_the_next(tracker, take):
    take(0)
    tracker.note("scheduled", 4)
    tracker.note("queue_delay_ms", 6000)
    tracker.note("round_trips_broker", 30)
    tracker.note("round_trips_tracker", 10)
    tracker.note("over_scheduled", 2)
    values = take(5).values

    assert values["redis_round_trips_broker"] == 6
    assert values["redis_round_trips"] >= 8
    assert values["redis_round_trips_broker_per_mirror"] == 7.5
    assert values["queue_delay_seconds"] == 1.5
    assert values["over_scheduled"] == 2
    assert values["redis_calls"] > 0


def test_the_first_sample_has_no_rates(take):
    values = take(0).values

    assert "over_scheduled" not in values
    assert values["capacity_used"] == 0


def test_a_server_that_lost_its_memory_gives_no_negative_rates(tracker, take, redis_client):
    tracker.note("bounced", 50)
    take(0)
    redis_client.delete("{mirroring}:counters")

    assert "bounced" not in take(5).values


def test_two_beats_make_one_sample(take):
    assert take(0) is not None
    assert take(0.5) is None


def test_the_lag_is_the_age_of_the_oldest_overdue_mirror(take):
    build_mirror(next_execution_at=NOW - timedelta(seconds=90))
    build_mirror(next_execution_at=NOW - timedelta(seconds=30))
    build_mirror(urgent=True, next_execution_at=NOW, import_due_at=NOW - timedelta(days=9000))

    assert take(0).values["lag_seconds"] == 90


def test_a_mirror_that_waits_in_the_queue_lags_as_one_that_waits_in_its_row(take):
    build_mirror(next_execution_at=NOW - timedelta(seconds=90), claim_expires_at=NOW + timedelta(seconds=9))
    build_mirror(next_execution_at=NOW - timedelta(seconds=30))

    assert take(0).values["lag_seconds"] == 90


def test_failures_are_counted_by_class_and_only_once(take):
    from mirroring.models import ImportAttempt

    mirror = build_mirror()
    take(0)
    for epoch, (outcome, ended) in enumerate([("gone", 1), ("gone", 2), ("changed", 3), ("gone", -9)]):
        at = NOW + timedelta(seconds=ended)
        ImportAttempt.objects.create(
            mirror=mirror, epoch=epoch, worker="w", started_at=at, ended_at=at, outcome=outcome
        )
    values = take(5).values

    assert (values["import_failures"], values["import_failures_gone"], values["imports_ended"]) == (2, 2, 3)
    assert take(10).values["import_failures"] == 0


def test_old_samples_are_forgotten(take):
    from mirroring.models import MetricSample

    take(0)
    take(3 * 86400 + 1)

    assert MetricSample.objects.count() == 1


def test_a_sample_without_redis_says_so_by_measure_and_keeps_the_rest(take, away):
    take(0)
    sample = take(5, tracker=away)

    assert "TrackerDown" not in sample.errors["redis_calls"]
    assert "Redis" in sample.errors["redis_calls"]
    assert "lag_seconds" in sample.values


def test_what_was_counted_while_redis_was_away_is_told_for_the_time_that_it_took(tracker, take, away):
    first = take(0)
    take(5, tracker=away)
    take(10, tracker=away)
    counted = {"round_trips_broker": 90, "scheduled": 12, "queue_delay_ms": 18000}
    for event, number in (counted | {"bounced": 9, "over_scheduled": 6, "repaired_slots": 3}).items():
        tracker.note(event, number)
    sample = take(15)

    rates = {name: sample.values[name] for name in ("redis_round_trips_broker", "redis_calls")}
    calls = sample.totals["redis_calls"] - first.totals["redis_calls"]
    assert rates == {"redis_round_trips_broker": 90 / 15, "redis_calls": round(calls / 15, 6)}
    counts = {
        name: sample.values[name] for name in ("scheduled", "bounced", "over_scheduled", "slots_leaked")
    }
    assert counts == {"scheduled": 4, "bounced": 3, "over_scheduled": 2, "slots_leaked": 1}
    assert sample.values["redis_round_trips_broker_per_mirror"] == 7.5
    assert sample.values["queue_delay_seconds"] == 1.5

    tracker.note("bounced", 3)
    assert take(20).values["bounced"] == 3


def test_a_sample_without_redis_that_an_older_build_took_carries_totals_that_are_not_its_own(tracker, take):
    from mirroring.models import MetricSample

    totals = take(0).totals
    errors = dict.fromkeys(FROM_REDIS, "Redis is away")
    MetricSample.objects.create(at=NOW + 2 * PERIOD, seconds=10, errors=errors, totals=totals)
    tracker.note("round_trips_broker", 90)

    assert take(15).values["redis_round_trips_broker"] == 6


def test_redis_away_for_a_moment_takes_no_healthy_rollout_back(tracker, take, away):
    from mirroring.rollout import guards, windows

    peak = Guard("redis_round_trips", Direction.UP, 1.5, Kind.PEAK)
    for number in range(10):
        tracker.note("round_trips_broker", 100)
        take(5 * number, tracker=away if number == 7 else tracker)
    kept = windows.baseline([peak], flag="any", now=NOW + 4 * PERIOD)
    now = windows.current(peak, since=NOW + 4 * PERIOD, now=NOW + 9 * PERIOD)

    assert list(now.values) == [20.0] * 4
    assert guards.judge(peak, windows.before(peak, kept), now, min_samples=3).verdict == guards.Verdict.GOOD


def sample(seconds, **values):
    from mirroring.models import MetricSample

    errors = values.pop("errors", {})
    return MetricSample.objects.create(
        at=NOW + timedelta(seconds=seconds), seconds=5, values=values, errors=errors
    )


RATIO = Guard("redis_calls", Direction.UP, 1.1, Kind.RATIO)


def test_a_multiple_of_requests_is_told_per_mirror_and_a_peak_in_all():
    from mirroring.rollout import windows

    sample(0, redis_calls=100, redis_calls_per_mirror=5)
    peak = Guard("redis_calls", Direction.UP, 1.1, Kind.PEAK)
    kept = windows.baseline([RATIO, peak], flag="any", now=NOW + PERIOD)

    assert list(windows.before(RATIO, kept).values) == [5]
    assert list(windows.before(peak, kept).values) == [100]


def test_a_window_holds_the_latest_values_of_the_step_only():
    from mirroring.rollout import windows

    for number in range(10):
        sample(number * 5, redis_calls_per_mirror=number)
    reading = windows.current(RATIO, since=NOW + timedelta(seconds=30), now=NOW + timedelta(seconds=46))

    assert list(reading.values) == [9, 8, 7]


def test_samples_that_stopped_are_no_data_however_good_the_last_were():
    from mirroring.rollout import windows

    sample(0, redis_calls_per_mirror=1)

    assert windows.current(RATIO, since=NOW - PERIOD, now=NOW + timedelta(seconds=60)).values == ()


def test_an_error_counts_while_the_newest_sample_has_it():
    from mirroring.rollout import windows

    sample(0, redis_calls_per_mirror=1)
    sample(5, errors={"redis_calls": "Redis is away"})
    since, now = NOW - PERIOD, NOW + timedelta(seconds=11)
    assert windows.current(RATIO, since=since, now=now).errors == ["Redis is away"]

    sample(10, redis_calls_per_mirror=1)
    assert windows.current(RATIO, since=since, now=now).errors == []
