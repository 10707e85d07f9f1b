"""The ten ways in which waffle 5.0.0 misleads. None of them may be had through any of the four ways in."""

import threading
from datetime import UTC, datetime

import pytest
import waffle
from django.core.management import get_commands, load_command_class
from django.core.management.base import CommandError
from django.db import connection

from mirroring.flags.actors import Actor
from mirroring.flags.models import Flag
from mirroring.flags.readings import is_on, read, read_all
from tests.flags.ways import WAYS, open_way
from tests.making import build_mirror
from tests.trial import FIRST

pytestmark = pytest.mark.django_db


@pytest.fixture(params=WAYS)
def way(request, client, settings):
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    return open_way(request.param, client)


@pytest.fixture
def per_mirror(define) -> str:
    return define("per_mirror", actor="mirror")


def now() -> datetime:
    return datetime.now(tz=UTC)


def seen(flag: str, actor: Actor | None = None) -> bool:
    return is_on(flag, actor=actor, now=now())


def test_1_a_deleted_flag_is_off_at_once(way):
    assert way.set(FIRST, True).ok
    assert seen(FIRST)

    assert way.delete(FIRST).ok

    assert not seen(FIRST)
    assert not waffle.switch_is_active(FIRST)


def test_2_also_a_row_that_was_written_past_everything_is_read_as_it_stands(way):
    way.set(FIRST, True)
    assert seen(FIRST)

    Flag.objects.filter(name=FIRST).update(active=False)

    assert not seen(FIRST)
    assert not read_all()[FIRST]


def test_3_turning_on_for_all_says_what_it_drops_and_the_audit_keeps_it(way, per_mirror):
    from mirroring.models import FlagChange

    mirror = build_mirror()
    way.list_actor(per_mirror, f"mirror:{mirror.path}")
    way.set(per_mirror, 25)

    done = way.set(per_mirror, True)

    assert done.ok
    assert f"no longer in force: 25 % of actors, mirror:{mirror.path}" in done.text
    entry = FlagChange.objects.first()
    assert (entry.before["percentage"], entry.before["actors"]) == ("25", [f"mirror:{mirror.pk}"])
    assert (entry.after["on"], entry.after["percentage"], entry.after["actors"]) == (True, None, [])


def test_4_a_percentage_does_not_silently_take_a_flag_from_those_who_have_it(way, per_mirror):
    way.set(per_mirror, True)

    refused = way.set(per_mirror, 30)

    assert not refused.ok
    assert "is on for everybody" in refused.text
    assert seen(per_mirror)


@pytest.mark.parametrize(("share", "expected"), [(100, True), (0, False)])
def test_5_a_hundred_per_cent_is_everybody_and_none_is_nobody(way, per_mirror, share, expected):
    assert way.set(per_mirror, share).ok

    assert seen(per_mirror) is expected
    assert seen(per_mirror, Actor("mirror", "1")) is expected


def test_5_fractions_of_a_per_cent_are_taken(way, per_mirror):
    assert way.set(per_mirror, 0.5).ok

    reading = read(per_mirror, now=now())
    assert 20 < sum(reading.is_on(Actor("mirror", str(number))) for number in range(10_000)) < 90


@pytest.mark.parametrize("share", [101, -1, 0.0001, "NaN"])
def test_5_what_is_no_percentage_is_refused_in_words(way, per_mirror, share):
    refused = way.set(per_mirror, share)

    assert not refused.ok
    assert "per cent" in refused.text or "percentage" in refused.text or "expected" in refused.text
    assert not Flag.objects.filter(name=per_mirror).exists()


def test_6_an_actor_taken_out_is_out_at_once(way, per_mirror):
    mirror = build_mirror()
    actor = Actor.of_mirror(mirror)
    assert way.list_actor(per_mirror, f"mirror:{mirror.path}").ok
    assert seen(per_mirror, actor)

    assert way.list_actor(per_mirror, f"mirror:{mirror.path}", on=False).ok

    assert not seen(per_mirror, actor)


def test_7_off_is_off_for_everybody_by_every_question(way, per_mirror):
    mirror = build_mirror()
    actor = Actor.of_mirror(mirror)
    way.list_actor(per_mirror, f"mirror:{mirror.path}")
    assert seen(per_mirror, actor)

    assert way.set(per_mirror, False).ok

    assert not seen(per_mirror, actor)
    assert not seen(per_mirror)
    assert not read(per_mirror, now=now()).is_on(actor)
    assert not read_all()[per_mirror]


def test_8_a_percentage_holds_where_there_is_no_request(way, per_mirror):
    """waffle asks a cookie, and a worker has none: there it is off for all, whatever the percentage."""
    way.set(per_mirror, 50)

    reading = read(per_mirror, now=now())
    answers = [reading.is_on(Actor("mirror", str(number))) for number in range(400)]

    assert 140 < sum(answers) < 260


def test_8_a_percentage_of_a_flag_without_actors_is_refused_with_the_reason(way):
    refused = way.set(FIRST, 50)

    assert not refused.ok
    assert "actor: none" in refused.text


def test_9_an_actor_keeps_its_answer_and_a_growing_percentage_takes_it_from_nobody(way, per_mirror):
    actors = [Actor("mirror", str(number)) for number in range(300)]
    had: set[Actor] = set()

    for share in (5, 10, 25, 50, 75, 100):
        way.set(per_mirror, share)
        readings = [read(per_mirror, now=now()) for _ in range(2)]
        rounds = [{actor for actor in actors if reading.is_on(actor)} for reading in readings]
        assert rounds[0] == rounds[1]
        assert had < rounds[0]
        had = rounds[0]

    assert had == set(actors)


@pytest.mark.django_db(transaction=True)
def test_10_a_reader_beside_the_writer_keeps_no_old_answer(way):
    """waffle's reader may put the old row back into the cache after the writer has flushed it."""
    stop, wrong = threading.Event(), []

    def reader():
        try:
            while not stop.is_set():
                read_all()
        finally:
            connection.close()

    threads = [threading.Thread(target=reader) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(6):
            assert way.set(FIRST, number % 2 == 0).ok
            if seen(FIRST) is not (number % 2 == 0):
                wrong.append(number)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert wrong == []


@pytest.mark.parametrize("name", ["waffle_switch", "waffle_flag", "waffle_sample", "waffle_delete"])
def test_the_commands_of_waffle_are_out_of_service(name):
    command = load_command_class(get_commands()[name], name)

    with pytest.raises(CommandError, match=r"use `manage\.py feature`"):
        command.handle()


def test_an_unknown_flag_is_refused_by_every_way(way):
    assert not way.set("update_al", True).ok
    assert not way.delete("update_al").ok
    assert not Flag.objects.exists()
