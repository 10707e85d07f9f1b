"""The heartbeat: what a worker says of itself, and what it does when nobody answers."""

import time
from datetime import timedelta

import pytest
import redis

from mirroring.flags.changes import set_flag
from mirroring.models import Claim, ImportState
from mirroring.rules.outcomes import Outcome
from mirroring.scheduler.heartbeat import SHUT_DOWN, Heart, InFlight
from mirroring.stack import valkey as private_valkey
from mirroring.tracker.job_tracker import JobTracker
from tests.making import state_of
from tests.trial import FIRST

CLAIM = Claim(mirror_id=1, epoch=1)


@pytest.fixture
def dying_tracker(tmp_path_factory):
    """A tracker, and a function that lets its server die."""
    server = private_valkey.start(tmp_path_factory.mktemp("valkey"))
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        tracker = JobTracker(client)
        tracker.rebuild(processing=[], importing=[])
        yield tracker, lambda: private_valkey.stop(server)
    if server.process.poll() is None:
        private_valkey.stop(server)


def test_a_worker_announces_its_slots_and_the_flags_that_it_sees(lost_tracker, configure):
    configure(lease_seconds=30)
    set_flag(FIRST, on=True, by="test", force=True)
    heart = Heart(name="imports@host:1", slots=8, tracker=lost_tracker, in_flight=InFlight())

    heart.beat()

    [worker] = lost_tracker.workers()
    assert (worker.name, worker.slots, worker.flags[FIRST]) == ("imports@host:1", 8, True)
    assert timedelta(seconds=25) < worker.expires_at - lost_tracker.now() <= timedelta(seconds=30)


def test_a_worker_that_takes_no_more_says_so(lost_tracker, db):
    heart = Heart(name="w", slots=8, tracker=lost_tracker, in_flight=InFlight())
    heart.beat()
    heart.slots = 0
    heart.beat()

    assert lost_tracker.counts(max_capacity=9).capacity == 0


def test_an_import_is_listed_while_it_runs():
    in_flight = InFlight()

    with in_flight.entry(CLAIM) as stop:
        assert in_flight.claims() == [CLAIM]
        in_flight.stop({Claim(2, 1)}, SHUT_DOWN)
        assert stop.stopped is None
        in_flight.stop_all(SHUT_DOWN)
        assert stop.stopped is SHUT_DOWN
    assert in_flight.claims() == []


def test_while_redis_is_away_imports_go_on_until_their_lease_is_nearly_over(dying_tracker, configure):
    configure(lease_seconds=4)
    tracker, die = dying_tracker
    in_flight = InFlight()
    heart = Heart(name="w", slots=8, tracker=tracker, in_flight=in_flight)
    heart.beat()
    die()

    with in_flight.entry(CLAIM) as stop:
        heart.beat()
        assert stop.stopped is None
        time.sleep(3.1)
        heart.beat()
        assert stop.stopped.outcome is Outcome.LOST


def test_imports_survive_that_the_server_forgets_while_it_is_rebuilt(works, configure, redis_client):
    configure(lease_seconds=4)
    mirror = works.mirror()
    claim = works.scheduled(mirror)
    heart = works.heart()
    with works.in_flight.entry(claim) as stop:
        heart.beat()
        redis_client.flushall()

        heart.beat()
        assert stop.stopped is None
        claimed_until = state_of(mirror).claim_expires_at
        time.sleep(0.05)
        heart.beat()

        assert stop.stopped is None
        assert state_of(mirror).claim_expires_at > claimed_until


def test_one_beat_renews_all_imports_of_a_worker_in_one_call_each(works, django_assert_max_num_queries):
    claims = [works.scheduled(works.mirror()) for _ in range(5)]
    entries = [works.in_flight.entry(claim) for claim in claims]
    for entry in entries:
        entry.__enter__()
    before = {row.pk: row.claim_expires_at for row in ImportState.objects.all()}

    with django_assert_max_num_queries(4):
        works.heart().beat()

    after = {row.pk: row.claim_expires_at for row in ImportState.objects.all()}
    assert all(after[pk] > before[pk] for pk in before)
    assert len(after) == 5
    for entry in entries:
        entry.__exit__(None, None, None)
