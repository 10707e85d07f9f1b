"""Feature flags in the admin: on and off through the one function, refused with its reason, and nothing else."""

import re

import pytest

from mirroring.flags.models import Flag
from mirroring.flags.readings import read_all
from mirroring.flags.registry import FlagName
from tests.trial import FIRST, SECOND

pytestmark = pytest.mark.django_db

LIST = "/admin/mirroring/flag/"


def turn(client, flag: str, to: str):
    return client.post(f"{LIST}{flag}/set/", {"to": to}, follow=True)


def messages_of(answer) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def test_every_defined_flag_is_listed_also_without_a_row(signed_in, operator):
    Flag.objects.all().delete()

    text = signed_in.get(LIST).content.decode()

    for flag in (*FlagName, FIRST, SECOND):
        assert f'id="flag-{flag}"' in text
    assert text.count("the default") == len(FlagName) + 2


def test_a_flag_is_turned_on_and_off_and_it_is_said_who_did(signed_in, operator):
    turned = turn(signed_in, FIRST, "on")

    assert messages_of(turned) == [f"{FIRST} is on"]
    assert read_all()[FIRST]
    assert Flag.objects.get(name=FIRST).changed_by == "operator"
    assert "by operator" in turned.content.decode()

    turn(signed_in, FIRST, "off")
    assert not read_all()[FIRST]


def test_a_refusal_is_shown_with_its_reason(signed_in, operator):
    refused = turn(signed_in, SECOND, "on")

    [message] = messages_of(refused)
    assert f"it requires {FIRST}" in message
    assert not read_all()[SECOND]


def test_a_flag_goes_back_to_its_default(signed_in, operator):
    turn(signed_in, FIRST, "on")

    turned = turn(signed_in, FIRST, "default")

    assert messages_of(turned) == [f"{FIRST} is back to its default"]
    assert not read_all()[FIRST]


@pytest.mark.parametrize("path", ["add/", "1/change/", "1/delete/", "1/history/"])
def test_there_is_no_form_that_makes_renames_or_deletes_a_flag(path, signed_in, operator):
    turn(signed_in, FIRST, "on")
    before = list(Flag.objects.values())

    assert signed_in.post(LIST + path, {"name": "mine", "active": "on", "post": "yes"}).status_code == 404
    assert list(Flag.objects.values()) == before


def test_a_flag_that_is_not_defined_and_a_value_that_makes_no_sense_are_not_found(signed_in, operator):
    assert turn(signed_in, "mine", "on").status_code == 404
    assert turn(signed_in, FIRST, "maybe").status_code == 404
    assert not Flag.objects.filter(name="mine").exists()
    assert signed_in.get(f"{LIST}{FIRST}/set/").status_code == 405


def test_who_may_only_look_sees_the_flags_and_turns_none(client, operator):
    from django.contrib.auth.models import Permission, User

    reader = User.objects.create_user("reader", is_staff=True)
    reader.user_permissions.add(
        Permission.objects.get(codename="view_flag", content_type__app_label="mirroring")
    )
    client.force_login(reader)

    assert not re.search(r"Turn (on|off)", client.get(LIST).content.decode())
    assert turn(client, FIRST, "on").status_code == 403
    assert not read_all()[FIRST]


def test_who_may_see_mirrors_only_sees_no_flags(client, operator):
    from django.contrib.auth.models import User

    client.force_login(User.objects.create_user("guest", is_staff=True))

    assert client.get(LIST).status_code == 403
