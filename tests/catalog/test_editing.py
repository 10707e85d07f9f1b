from datetime import timedelta

import pytest

from mirroring import catalog
from mirroring.catalog.errors import Invalid, NameTaken, NothingToChange, NotNow
from mirroring.models import Mirror
from mirroring.upstream.policy.guard import AllowList
from tests.catalog.samples import LATER, NOW, due_now, hard_failed, imported, made, nobody, state

pytestmark = pytest.mark.django_db
TOMORROW = NOW + timedelta(days=1)
NEW_URL = "https://elsewhere.example.org/team/project"


def edit(mirror: Mirror, **changes: object) -> catalog.Edited:
    return catalog.edit(mirror, now=LATER, wake=nobody, **changes)


def test_a_new_url_raises_the_configuration_and_is_imported_now(django_capture_on_commit_callbacks):
    mirror = imported(made(), next_at=TOMORROW)
    woken = []

    with django_capture_on_commit_callbacks(execute=True):
        edited = catalog.edit(mirror, now=LATER, wake=lambda: woken.append("now"), url=NEW_URL)

    assert (edited.changed, edited.asked_now, woken) == (("url",), True, ["now"])
    assert (edited.mirror.url, edited.mirror.config_version) == (NEW_URL, 2)
    assert due_now(mirror)


def test_the_new_host_is_counted_in_both_rows():
    mirror = edit(made(), url=NEW_URL).mirror

    assert mirror.host.name == state(mirror).host.name == "elsewhere.example.org"


def test_other_refs_are_imported_now():
    mirror = imported(made(), next_at=TOMORROW)

    edited = edit(mirror, refs=catalog.check_refs(None, ["refs/heads/main"]))

    assert edited.changed == ("ref_patterns", "ref_selection")
    assert edited.mirror.refspecs == ["+refs/heads/main:refs/heads/main"]
    assert edited.mirror.config_version == 2
    assert due_now(mirror)


def test_a_new_url_forgives_a_hard_failure():
    assert not edit(hard_failed(made()), url=NEW_URL).mirror.state.hard_failed


def test_a_new_name_and_group_keep_the_repository_and_import_nothing():
    mirror = imported(made(), next_at=TOMORROW)
    before = mirror.repository

    edited = edit(mirror, name="renamed", group="tools")

    assert edited.mirror.path == "tools/renamed"
    assert edited.mirror.repository == before
    assert (edited.mirror.config_version, edited.asked_now) == (1, False)
    assert not due_now(mirror)


def test_an_edit_to_what_is_there_already_changes_nothing():
    mirror = imported(made(), next_at=TOMORROW)

    edited = edit(mirror, url=mirror.url + "/", name="project", refs=catalog.check_refs("default"))

    assert (edited.changed, edited.asked_now, edited.mirror.config_version) == ((), False, 1)


def test_a_paused_mirror_takes_the_change_and_stays_paused():
    mirror = catalog.pause(made(), now=NOW)

    edited = edit(mirror, url=NEW_URL)

    assert (edited.mirror.url, edited.asked_now, edited.mirror.state.import_due_at) == (NEW_URL, False, None)


def test_a_name_that_is_taken_is_refused_and_nothing_changes():
    made(name="taken")
    mirror = made()

    with pytest.raises(NameTaken, match="default/taken is taken"):
        edit(mirror, name="taken", url=NEW_URL)

    kept = Mirror.objects.get(pk=mirror.pk)
    assert (kept.name, kept.url, kept.config_version) == ("project", mirror.url, 1)


def test_a_url_that_stays_is_not_judged_and_a_new_one_is(settings):
    settings.ALLOW_PRIVATE_UPSTREAMS = AllowList.parse(["127.0.0.0/8"])
    mirror = made("http://127.0.0.1:3000/team/project")
    settings.ALLOW_PRIVATE_UPSTREAMS = AllowList()

    edit(mirror, name="renamed")
    edited = edit(mirror, on_divergence="keep", url=mirror.url)

    assert (edited.mirror.name, edited.changed) == ("renamed", ("on_divergence",))
    with pytest.raises(Invalid, match=r"127\.0\.0\.1 is not on the public Internet"):
        edit(mirror, url="http://127.0.0.1:3000/team/other")


def test_an_edit_that_names_no_change_is_refused():
    with pytest.raises(NothingToChange):
        edit(made())


def test_a_removed_mirror_is_not_edited():
    with pytest.raises(NotNow, match="restore it first"):
        edit(catalog.remove(made(), now=NOW), name="other")
