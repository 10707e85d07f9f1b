from datetime import timedelta

import pytest

from mirroring import catalog
from mirroring.catalog.errors import Ambiguous, Unknown
from tests.catalog.samples import NOW, made

pytestmark = pytest.mark.django_db


def test_a_mirror_is_found_by_its_path_and_by_a_name_that_is_the_only_one():
    mirror = made()

    assert catalog.find("default/project") == catalog.find("project") == mirror


def test_a_name_in_several_groups_needs_its_group():
    made()
    made(group="other")

    with pytest.raises(Ambiguous, match="default/project, other/project"):
        catalog.find("project")
    assert catalog.find("other/project").path == "other/project"


def test_an_unknown_name_is_answered_with_what_there_is():
    made()

    with pytest.raises(Unknown, match="there is default/project"):
        catalog.find("other/project")
    with pytest.raises(Unknown, match="mirror list"):
        catalog.find("nothing")


def test_a_removed_mirror_is_answered_with_the_way_back():
    catalog.remove(made(), now=NOW)

    with pytest.raises(Unknown, match="mirror restore default/project"):
        catalog.find("default/project")


def test_of_several_removed_mirrors_of_one_path_the_last_one_is_found():
    for hour in range(3):
        last = catalog.remove(made(), now=NOW + timedelta(hours=hour))

    assert catalog.find_removed("project") == last
    with pytest.raises(Unknown):
        catalog.find_removed("other")


def test_removed_mirrors_of_several_groups_need_the_group():
    for group in ("one", "two"):
        catalog.remove(made(group=group), now=NOW)

    with pytest.raises(Ambiguous):
        catalog.find_removed("project")


def test_an_unknown_group_is_refused():
    with pytest.raises(Unknown, match="group list"):
        catalog.find_group("nothing")
