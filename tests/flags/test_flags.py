import logging
import threading

import pytest
import waffle
import yaml
from django.db import connection

from mirroring.flags import registry
from mirroring.flags.changes import FlagRefused, delete_flag, set_flag
from mirroring.flags.models import Flag
from mirroring.flags.readings import read_all
from mirroring.flags.registry import FlagName, UnknownFlag, named
from tests.trial import FIRST, SECOND

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_days_to_wait(settings):
    settings.FLAG_STABLE_SECONDS = 0


def turn(name, on, **options):
    return set_flag(name, on=on, by="ada", **options)


def trial() -> dict[str, bool]:
    read = read_all()
    return {name: read[name] for name in (FIRST, SECOND)}


# -- the registry ---------------------------------------------------------------------------------------------------


def test_every_flag_has_a_definition_and_every_definition_a_flag():
    files = {path.stem for path in registry.DEFINITIONS.glob("*.yml")}

    assert files == set(FlagName)
    assert [made.name for made in registry.definitions()] == [*FlagName, FIRST, SECOND]


@pytest.mark.parametrize("name", list(FlagName))
def test_a_definition_says_what_its_file_is_called_and_what_the_flag_does(name):
    body = yaml.safe_load((registry.DEFINITIONS / f"{name}.yml").read_text())

    assert body["name"] == name
    assert len(registry.definition(name).description) > 40
    assert registry.definition(name).default is False


def test_a_flag_may_require_another():
    assert registry.definition(FIRST).requires is None
    assert registry.definition(SECOND).requires.flag == FIRST


def test_an_unknown_name_is_refused_with_the_names_there_are():
    assert named(FIRST) == FIRST
    with pytest.raises(UnknownFlag, match=f"'update_al'.*{FIRST}"):
        named("update_al")


# -- reading --------------------------------------------------------------------------------------------------------


def test_a_flag_without_a_row_is_what_its_definition_says():
    assert trial() == {FIRST: False, SECOND: False}


def test_flags_are_read_in_one_query(django_assert_num_queries):
    turn(FIRST, True)

    with django_assert_num_queries(1):
        assert trial() == {FIRST: True, SECOND: False}


@pytest.mark.parametrize("flip", ["save", "update"])
def test_a_flip_is_seen_by_the_next_read_however_it_was_written(flip):
    turn(FIRST, True)
    assert read_all()[FIRST]

    if flip == "save":
        turn(FIRST, False)
    else:
        Flag.objects.filter(name=FIRST).update(active=False)

    assert not read_all()[FIRST]
    assert not waffle.switch_is_active(FIRST)


@pytest.mark.django_db(transaction=True)
def test_a_flip_is_seen_at_once_by_a_reader_that_has_read_before():
    seen, flipped, read = [], threading.Event(), threading.Event()

    def reader():
        try:
            seen.append(read_all()[FIRST])
            read.set()
            flipped.wait(10)
            seen.append(read_all()[FIRST])
        finally:
            connection.close()

    thread = threading.Thread(target=reader)
    thread.start()
    read.wait(10)
    turn(FIRST, True)
    flipped.set()
    thread.join()

    assert seen == [False, True]


# -- changing -------------------------------------------------------------------------------------------------------


def test_a_change_says_who_made_it(caplog):
    with caplog.at_level(logging.INFO, logger="mirroring.flags.changes"):
        turn(FIRST, True)

    assert Flag.objects.get(name=FIRST).changed_by == "ada"
    [record] = caplog.records
    assert (record.flag, record.before, record.after, record.by) == (FIRST, "off", "on", "ada")


def test_the_second_flag_is_not_turned_on_while_the_first_is_off():
    with pytest.raises(FlagRefused, match=f"requires {FIRST}, which is off"):
        turn(SECOND, True)

    assert not read_all()[SECOND]
    turn(FIRST, True)
    turn(SECOND, True)
    assert trial() == {FIRST: True, SECOND: True}


def test_it_may_be_forced():
    turn(SECOND, True, force=True)

    assert trial() == {FIRST: False, SECOND: True}


@pytest.mark.parametrize("name", [FIRST, SECOND])
def test_turning_off_is_never_refused(name):
    turn(FIRST, True)
    turn(SECOND, True)

    turn(name, False)

    assert not read_all()[name]


def test_turning_off_the_second_flag_is_not_refused_for_the_first_being_off():
    turn(SECOND, True, force=True)

    turn(SECOND, False)

    assert not read_all()[SECOND]


def test_a_deleted_flag_is_what_its_definition_says_for_waffle_too():
    turn(FIRST, True)
    assert waffle.switch_is_active(FIRST)

    assert delete_flag(FIRST, by="ada") is True

    assert not read_all()[FIRST]
    assert not waffle.switch_is_active(FIRST)
    assert delete_flag(FIRST, by="ada") is False


def test_a_flag_that_is_set_twice_has_one_row():
    turn(FIRST, True)
    turn(FIRST, True)

    assert Flag.objects.filter(name=FIRST).count() == 1


def test_the_row_of_a_flag_that_was_cleaned_up_can_be_forgotten_and_nothing_else_be_done_with_it():
    from mirroring.chatops import running
    from mirroring.chatops.act import Caller
    from mirroring.flags.changes import Origin
    from mirroring.flags.models import Flag
    from mirroring.models.flag_change import FlagChange

    caller = Caller("ada", Origin.CLI)
    Flag(name="cleaned_up", active=True).save()

    refused = running.here(["feature", "set", "cleaned_up", "true"], caller=caller)
    done = running.here(["feature", "delete", "cleaned_up"], caller=caller)
    again = running.here(["feature", "delete", "cleaned_up"], caller=caller)

    assert (refused.ok, done.ok, again.ok) == (False, True, False)
    assert not Flag.objects.filter(name="cleaned_up").exists()
    [entry] = FlagChange.objects.filter(flag="cleaned_up")
    assert (entry.by, entry.after["set"]) == ("ada", False)
