import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from mirroring.models import SchedulingSettings

pytestmark = pytest.mark.django_db


def test_settings_are_listed_with_their_defaults_and_meanings(manage):
    manage("settings", "set", "mirror_max_capacity", "7")

    listed = {setting["name"]: setting for setting in manage("settings", "list", "--json").data}

    assert listed["mirror_max_capacity"] == {
        "name": "mirror_max_capacity",
        "value": 7,
        "default": 100,
        "meaning": "Imports that may be in flight at once.",
    }
    assert listed["paused_all"]["value"] is False
    assert "id" not in listed
    assert "mirror_max_capacity" in manage("settings", "list").out


def test_every_setting_has_a_meaning(manage):
    assert not [each["name"] for each in manage("settings", "list", "--json").data if not each["meaning"]]


def test_a_delay_says_that_mirrors_that_are_scheduled_already_keep_their_time(manage):
    said = manage("settings", "set", "mirror_max_delay_seconds", "3600").out

    assert "mirror_max_delay_seconds is now 3600.\nApplies from each mirror's next import on." in said
    assert "next import" not in manage("settings", "set", "mirror_max_capacity", "7").out


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("mirror_jitter_seconds", "0", 0), ("paused_all", "true", True), ("silent_mode", "False", False)],
)
def test_a_setting_is_changed_and_read_back(manage, name, text, value):
    assert manage("settings", "set", name, text, "--json").data["value"] == value

    assert getattr(SchedulingSettings.current(), name) == value
    assert manage("settings", "get", name).out.strip() == text.lower()


def test_settings_that_bound_each_other_are_changed_together_or_not_at_all(manage):
    names = ("mirror_min_delay_seconds", "mirror_max_delay_seconds")

    done = manage("settings", "set", names[0], "90000", names[1], "90000", "--json")

    assert [setting["value"] for setting in done.data] == [90000, 90000]
    assert manage("settings", "set", "tick_seconds", "5", names[1], "80000").code == 1
    assert SchedulingSettings.current().tick_seconds == 60


def test_a_setting_without_a_value_is_refused(manage):
    done = manage("settings", "set", "tick_seconds", "5", "lease_seconds")

    assert (done.code, SchedulingSettings.current().tick_seconds) == (1, 60)
    assert "'lease_seconds' has no value beside it: write NAME VALUE" in done.err


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("mirror_max_capacity", "-1", "greater than or equal to 0"),
        ("mirror_max_capacity", "many", "must be an integer"),
        ("paused_all", "perhaps", "either True or False"),
        ("tick_seconds", "0", "greater than or equal to 1"),
        ("mirror_min_delay_seconds", "20000", "must not exceed mirror_max_delay_seconds"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_and_changes_nothing(manage, name, text, hint):
    before = manage("settings", "list", "--json").data

    done = manage("settings", "set", name, text)

    assert done.code == 1
    assert done.err.startswith(f"{name} cannot be {text!r}: ")
    assert hint in done.err
    assert manage("settings", "list", "--json").data == before


def test_an_unknown_setting_is_refused_with_those_there_are(manage):
    for words in (("get", "id"), ("set", "pk", "2")):
        done = manage("settings", *words)
        assert done.code == 1
        assert "Settings: mirror_max_capacity, mirror_capacity_threshold, " in done.err


def test_a_change_wakes_the_scheduler(manage, redis_client, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        manage("settings", "set", "mirror_max_capacity", "7")

    assert redis_client.exists("{mirroring}:wake")


@pytest.mark.django_db(transaction=True)
def test_two_changes_at_once_do_not_undo_each_other():
    from mirroring.management.commands.settings import _change, _named

    SchedulingSettings.objects.create(pk=1)

    def second() -> None:
        try:
            _change({_named("mirror_jitter_seconds"): "7"})
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            _change({_named("mirror_max_capacity"): "7"})
            other = pool.submit(second)
            time.sleep(0.5)  # The second one comes as far as it can before the first is committed.
        other.result()

    row = SchedulingSettings.current()
    assert (row.mirror_max_capacity, row.mirror_jitter_seconds) == (7, 7)
