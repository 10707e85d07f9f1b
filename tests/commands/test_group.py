import pytest

from mirroring import catalog
from mirroring.models import Group
from tests.catalog.samples import NOW, made

pytestmark = pytest.mark.django_db


def test_a_group_is_added_listed_edited_and_removed(manage):
    added = manage("group", "add", "tools", "--owner", "Team T", "--contact", "#t", "--json").data
    assert added == {"name": "tools", "owner": "Team T", "contact": "#t", "public": True}

    assert manage("group", "edit", "tools", "--private", "--name", "kit").out == "Changed the group kit.\n"

    [listed] = manage("group", "list", "--json").data
    assert listed == {"name": "kit", "owner": "Team T", "contact": "#t", "public": False, "mirrors": 0}
    assert manage("group", "list").out.split()[-6:] == ["kit", "0", "by", "token", "Team", "T", "#t"][-6:]

    assert manage("group", "remove", "kit").code == 0
    assert not Group.objects.exists()
    assert "No groups" in manage("group", "list").out


def test_a_private_group_says_how_to_get_in(manage):
    assert "group token add tools NAME" in manage("group", "add", "tools", "--private").out
    assert not Group.objects.get().public


def test_the_mirrors_of_a_group_are_counted_without_the_removed_ones(manage):
    made()
    catalog.remove(made(name="removed"), now=NOW)

    assert manage("group", "list", "--json").data[0]["mirrors"] == 1


def test_a_group_that_owns_mirrors_is_not_removed(manage):
    made()

    done = manage("group", "remove", "default")

    assert done.code == 1
    assert "still owns 1 mirror," in done.err


def test_a_token_is_shown_once_and_opens_the_group_until_it_is_revoked(manage):
    group = catalog.add_group("tools", public=False)

    token = manage("group", "token", "add", "tools", "ci", "--json").data["token"]

    assert group.admits(token)
    [listed] = manage("group", "token", "list", "tools", "--json").data
    assert (listed["name"], listed["revoked_at"]) == ("ci", None)
    assert token not in manage("group", "token", "list", "tools").out
    assert (
        manage("group", "token", "revoke", "tools", "ci").out == "Revoked the token ci of the group tools.\n"
    )
    assert not group.admits(token)
    assert manage("group", "token", "list", "tools", "--json").data[0]["revoked_at"]


def test_a_new_token_is_the_first_line_for_a_script_to_take(manage):
    group = catalog.add_group("tools", public=False)

    assert group.admits(manage("group", "token", "add", "tools", "ci").out.splitlines()[0])


def test_a_group_without_tokens_says_so(manage):
    catalog.add_group("tools")

    assert manage("group", "token", "list", "tools").out == "The group tools has no tokens.\n"


@pytest.mark.parametrize(
    "words", [("remove",), ("edit",), ("token", "add"), ("token", "list"), ("token", "revoke")]
)
def test_an_unknown_group_is_refused(manage, words):
    more = {"edit": ["--private"], "add": ["x"], "revoke": ["x"]}.get(words[-1], [])

    assert "There is no group 'nothing'" in manage("group", *words, "nothing", *more).err
