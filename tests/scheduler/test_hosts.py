"""What an import finds out of its host, and what follows for the next run of the scheduler."""

import socket
import threading
from datetime import timedelta

import pytest
from django.db import connection

from mirroring.models import Host, ImportState
from mirroring.rules.hosts import FAILURES_BEFORE_COOLING, Bounds, Report, Signal
from mirroring.rules.outcomes import Outcome
from mirroring.scheduler.ending import Ending, tell_host
from tests.making import MINUTE, NOW, build_mirror, state_of
from tests.scheduler.desk import LEGACY, OBSERVED, POSITIONS, TRACKED, to_the_door, turn

HELD_TO = Bounds(start=4, ceiling=10)


def host_of(mirror):
    return Host.objects.get(pk=mirror.host_id)


def hear(host, signal, *, now=NOW, bounds=HELD_TO):
    report = Report(signal, "it said so", started_at=now)
    Host.objects.hear(host.pk, report, bounds=bounds, now=now, dice=0.5)


def test_a_real_answer_earns_a_slot_and_a_real_refusal_does_too(works):
    mirror = works.mirror()
    Host.objects.update(slots=None)
    works.run(works.scheduled(mirror))
    first = host_of(mirror).slots
    works.server.behave(works.upstream.name, "gone")
    other = works.mirror()
    works.run(works.scheduled(other))

    assert first == 26
    assert host_of(mirror).slots == 27


@pytest.mark.parametrize("behaviour", ["status:429", "status:503"])
def test_an_overload_of_a_real_server_halves_its_slots(works, behaviour):
    mirror = works.mirror()
    Host.objects.update(slots=20)
    works.server.behave(works.upstream.name, behaviour)

    assert works.run(works.scheduled(mirror)) is Outcome.TRANSIENT
    assert (host_of(mirror).slots, host_of(mirror).failures) == (10, 1)


def test_a_host_where_nobody_listens_is_left_alone_after_five_imports_and_no_sixth_is_tried(
    works, desk, tracker
):
    turn(TRACKED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}/x.git"
    mirrors = [build_mirror(url=dead) for _ in range(FAILURES_BEFORE_COOLING + 3)]
    alive = works.mirror()

    for mirror in mirrors[:FAILURES_BEFORE_COOLING]:
        works.run(works.scheduled(mirror))

    found = host_of(mirrors[0])
    assert found.cooling_until > tracker.now()
    assert "connect" in found.cooling_reason.lower()
    desk.run()
    assert [claim.mirror_id for claim in desk.sent] == [alive.pk]


def test_a_retry_after_is_kept_to(make_mirror, tracker, configure):
    mirror, configured = make_mirror(), configure()
    ending = Ending(Outcome.TRANSIENT, "429", signal=Signal.OVERLOADED, retry_after=timedelta(seconds=90))
    now = tracker.now()

    tell_host(mirror.host_id, ending, began=now, configured=configured, now=now)

    assert host_of(mirror).cooling_until == now + timedelta(seconds=90)


def test_a_server_that_asks_for_a_pause_over_http_has_it(works, tracker):
    mirror = works.mirror()
    works.server.behave(works.upstream.name, "status:429:600")

    works.run(works.scheduled(mirror))

    left = host_of(mirror).cooling_until - tracker.now()
    assert timedelta(seconds=540) < left <= timedelta(seconds=600)


def test_a_host_without_anything_new_to_say_is_not_written(make_mirror, django_assert_num_queries):
    host = make_mirror().host

    with django_assert_num_queries(1):
        hear(host, Signal.ANSWERS)


@pytest.mark.django_db(transaction=True)
def test_of_many_that_report_at_once_each_is_heard():
    host = build_mirror().host
    Host.objects.update(slots=2)
    barrier = threading.Barrier(4)

    def report():
        connection.ensure_connection()
        barrier.wait()
        hear(host, Signal.ANSWERS, bounds=Bounds(start=1, ceiling=1000))
        connection.close()

    threads = [threading.Thread(target=report) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Host.objects.get(pk=host.pk).slots == 6


def test_a_host_that_is_gone_keeps_no_import_from_its_end(tracker, configure):
    tell_host(
        4711, Ending(Outcome.CHANGED, signal=Signal.ANSWERS), began=NOW, configured=configure(), now=NOW
    )


@pytest.mark.parametrize("position", POSITIONS)
def test_a_host_never_imports_more_than_it_may_in_any_position_of_the_flags(
    position, desk, make_mirror, tracker, configure
):
    turn(position)
    mirrors = [make_mirror() for _ in range(6)]
    Host.objects.update(slots=2)

    desk.run()
    desk.run()
    doors = [to_the_door(claim, tracker) for claim in desk.sent]

    assert doors.count("scheduled") == 2
    assert ImportState.objects.in_flight().count() == 2
    assert ImportState.objects.filter(import_due_at__isnull=False).count() == len(mirrors) - 2


@pytest.mark.parametrize("position", [LEGACY, OBSERVED, TRACKED])
def test_a_job_whose_host_began_to_cool_is_turned_back_at_the_door(position, desk, make_mirror, tracker):
    turn(position)
    mirror = make_mirror()
    desk.run()
    Host.objects.update(cooling_until=tracker.now() + MINUTE)

    assert to_the_door(desk.sent[0], tracker) == "bounced"

    assert state_of(mirror).import_due_at is not None
    assert tracker.counters()["bounced_by_host"] == 1


def test_a_mirror_whose_credential_is_refused_twice_waits_and_goes_on_when_it_is_asked_for(works):
    mirror = works.mirror()
    works.server.behave(works.upstream.name, "auth")
    works.run(works.scheduled(mirror))
    ImportState.objects.update(import_due_at=NOW)
    works.run(works.scheduled(mirror))
    assert (state_of(mirror).hard_failed, state_of(mirror).import_due_at) == (True, None)

    works.server.behave(works.upstream.name, "normal")
    ImportState.objects.all().ask_now(now=works.tracker.now())

    assert works.run(works.scheduled(mirror)) is Outcome.CHANGED


def test_a_damaged_mirror_is_due_at_once_and_whole_after_the_next_import(works):
    from mirroring.upstream.disk.repository import Repository
    from tests.upstream.test_quarantine import damage, intact, push_commits

    mirror = works.mirror()
    works.run(works.scheduled(mirror))
    repository = Repository(mirror.repository)
    damage(repository)
    push_commits(works.upstream, seed=1)
    ImportState.objects.update(import_due_at=NOW)

    assert works.run(works.scheduled(mirror)) is Outcome.CORRUPT
    assert state_of(mirror).import_due_at <= works.tracker.now()
    assert works.run(works.scheduled(mirror)) is Outcome.CHANGED
    assert intact(repository)
