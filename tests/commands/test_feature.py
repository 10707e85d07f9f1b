import pytest

from mirroring.flags.models import Flag
from mirroring.flags.readings import read_all
from tests.trial import FIRST, SECOND

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_days_to_wait(settings):
    settings.FLAG_STABLE_SECONDS = 0


def test_flags_are_listed_with_value_and_origin(manage):
    manage("feature", "set", FIRST, "true")

    rows = [line.split() for line in manage("feature", "list", "--match", "trial").out.splitlines()[2:]]

    assert rows[0][:2] == [FIRST, "on"]
    assert rows[0][2].startswith("cli:")
    assert rows[1] == [SECOND, "off", "default", FIRST]


def test_a_flag_is_turned_on_and_off(manage):
    assert manage("feature", "set", FIRST, "true").out == f"{FIRST} is now on.\n"
    assert read_all()[FIRST] is True

    assert manage("feature", "set", FIRST, "false", "--json").data["value"] is False
    assert read_all()[FIRST] is False


def test_who_changed_a_flag_is_kept(manage):
    manage("feature", "set", FIRST, "true")

    flag = manage("feature", "get", FIRST, "--json").data

    assert flag["changed_by"].startswith("cli:")
    assert (flag["value"], flag["set"], flag["default"], flag["requires"]) == (True, True, False, None)


def test_the_second_flag_is_forced_on_without_the_first_and_the_effect_is_said(manage):
    assert manage("feature", "set", SECOND, "true").code == 1
    assert read_all()[SECOND] is False

    done = manage("feature", "set", SECOND, "true", "--force")

    assert read_all()[SECOND] is True
    assert f"Note: {SECOND} is on without {FIRST}, so it has no effect.\n" in done.err
    assert "overridden, and recorded as such: requires, stable" in done.err


def test_turning_the_first_flag_off_is_never_refused_and_says_what_it_means_for_the_second(manage):
    manage("feature", "set", FIRST, "true")
    manage("feature", "set", SECOND, "true")

    done = manage("feature", "set", FIRST, "false")

    assert (done.code, read_all()[FIRST]) == (0, False)
    assert SECOND in done.err


def test_a_deleted_flag_has_its_default_again(manage):
    manage("feature", "set", FIRST, "true")

    assert manage("feature", "delete", FIRST).out == f"{FIRST} is now off, its default.\n"

    assert not Flag.objects.exists()
    assert manage("feature", "delete", FIRST).code == 0


@pytest.mark.parametrize("act", ["get", "delete"])
def test_an_unknown_flag_is_refused(manage, act):
    done = manage("feature", act, "nothing")

    assert done.code == 1
    assert FIRST in done.err


def test_a_flag_explains_itself(manage):
    out = manage("feature", "get", SECOND).out

    assert out.startswith(f"{SECOND} is off. The second of two flags")
