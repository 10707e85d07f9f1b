import pytest

from mirroring import catalog
from mirroring.catalog.errors import GroupInUse, Invalid, NameTaken, NothingToChange, Unknown
from mirroring.models import GroupToken
from tests.catalog.samples import NOW, made

pytestmark = pytest.mark.django_db


def test_a_group_has_an_owner_a_contact_and_is_public():
    group = catalog.add_group("tools", owner="Team T", contact="t@example.org")

    assert (group.name, group.owner, group.contact, group.public) == (
        "tools",
        "Team T",
        "t@example.org",
        True,
    )


def test_the_name_of_a_group_is_taken_once():
    catalog.add_group("tools")
    other = catalog.add_group("other")

    with pytest.raises(NameTaken):
        catalog.add_group("tools")
    with pytest.raises(NameTaken):
        catalog.edit_group(other, name="tools")


@pytest.mark.parametrize("fields", [{"name": "a/b"}, {"name": "x", "owner": "o" * 201}])
def test_a_group_with_a_field_that_cannot_be_used_is_refused(fields):
    with pytest.raises(Invalid):
        catalog.add_group(**fields)


def test_an_edit_changes_what_it_names_and_nothing_else():
    group = catalog.add_group("tools", owner="Team T")

    edited = catalog.edit_group(group, public=False, contact="#tools")

    assert (edited.name, edited.owner, edited.contact, edited.public) == ("tools", "Team T", "#tools", False)
    with pytest.raises(NothingToChange):
        catalog.edit_group(group)


def test_a_renamed_group_renames_its_mirrors():
    mirror = made()

    catalog.edit_group(mirror.group, name="renamed")

    assert catalog.find("renamed/project") == mirror


@pytest.mark.parametrize("removed", [False, True])
def test_a_group_that_owns_mirrors_stays(removed):
    mirror = made()
    if removed:
        catalog.remove(mirror, now=NOW)

    with pytest.raises(GroupInUse, match=f"{int(not removed)} mirrors?, and {int(removed)} removed ones"):
        catalog.remove_group(mirror.group)

    assert catalog.find_group("default") == mirror.group


def test_a_token_opens_its_group_until_it_is_revoked():
    group, other = catalog.add_group("tools", public=False), catalog.add_group("other", public=False)

    token, text = catalog.add_token(group, name="ci")

    assert group.admits(text)
    assert not other.admits(text)
    assert text not in str(GroupToken.objects.filter(pk=token.pk).values())
    catalog.revoke_token(group, name="ci", now=NOW)
    assert not group.admits(text)


def test_two_valid_tokens_of_a_group_have_two_names():
    group = catalog.add_group("tools")
    catalog.add_token(group, name="ci")
    with pytest.raises(NameTaken):
        catalog.add_token(group, name="ci")

    catalog.revoke_token(group, name="ci", now=NOW)

    assert catalog.add_token(group, name="ci")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 201])
def test_a_token_needs_a_printable_name(name):
    with pytest.raises(Invalid):
        catalog.add_token(catalog.add_group("tools"), name=name)


def test_a_token_that_is_not_valid_cannot_be_revoked():
    with pytest.raises(Unknown):
        catalog.revoke_token(catalog.add_group("tools"), name="ci", now=NOW)
