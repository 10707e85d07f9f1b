from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from mirroring import catalog
from mirroring.catalog.adding import Skipped
from mirroring.catalog.errors import AlreadyMirrored, BadList, NameTaken
from mirroring.models import Group, Host, ImportState, Mirror
from mirroring.rules.cadence import FIRST_HEAD_START
from mirroring.rules.states import Status
from tests.catalog.samples import NOW, URL, made, nobody, state

pytestmark = pytest.mark.django_db


def test_a_new_mirror_is_due_at_once_with_its_group_its_host_and_its_state():
    mirror = made()

    assert (mirror.path, mirror.url, mirror.host.name) == ("default/project", URL, "git.example.org")
    row = state(mirror)
    assert (row.status, row.active, row.next_execution_at, row.import_due_at) == (
        Status.NONE,
        True,
        NOW,
        NOW - FIRST_HEAD_START,
    )
    assert row.host == mirror.host


def test_group_and_name_may_be_given():
    assert made(group="tools", name="linter").path == "tools/linter"


def test_the_scheduler_is_woken_after_the_commit_and_not_before(django_capture_on_commit_callbacks):
    woken = []

    with django_capture_on_commit_callbacks(execute=True):
        made(wake=lambda: woken.append("now"))
        assert woken == []

    assert woken == ["now"]


def test_a_name_that_mirrors_something_else_is_taken():
    made()

    with pytest.raises(NameTaken, match=f"default/project is taken, it mirrors {URL}"):
        made("https://git.example.org/other/project")


def test_the_same_mirror_a_second_time_is_refused_as_such():
    made()

    with pytest.raises(AlreadyMirrored):
        made()


def test_the_name_of_a_removed_mirror_is_free():
    first = made()
    catalog.remove(first, now=NOW)

    assert made().pk != first.pk


def test_the_same_name_is_free_in_another_group():
    made()

    assert made(group="other").path == "other/project"


def wanted(*urls: str) -> list[tuple[int, catalog.Wanted]]:
    return [(line, catalog.want(url)) for line, url in enumerate(urls, 1)]


def test_a_list_of_thousands_is_added_in_few_statements(django_assert_max_num_queries):
    urls = [f"https://host{number % 7}.example.org/team/project{number}" for number in range(2000)]

    with django_assert_max_num_queries(110):
        added = catalog.add_all(wanted(*urls), now=NOW, wake=nobody)

    assert [mirror.url for mirror in added.mirrors] == urls
    assert ImportState.objects.overdue(now=NOW).count() == 2000
    assert Host.objects.count() == 7


def test_a_list_wakes_the_scheduler_once_and_an_empty_harvest_does_not(django_capture_on_commit_callbacks):
    woken = []
    lines = wanted(URL, "https://git.example.org/team/other")

    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            catalog.add_all(lines, now=NOW, wake=lambda: woken.append("now"))

    assert woken == ["now"]


def test_every_line_of_a_list_is_added_or_skipped_with_its_reason():
    made(URL)
    lines = wanted(
        "https://git.example.org/team/a", URL, "https://git.example.org/team/a", "https://h.example.org/b"
    )

    added = catalog.add_all(lines, now=NOW, wake=nobody)

    assert [mirror.name for mirror in added.mirrors] == ["a", "b"]
    assert added.skipped == [
        Skipped(2, "default/project", "already mirrored"),
        Skipped(3, "default/a", "the same as line 1"),
    ]


def test_a_list_in_which_names_clash_adds_nothing_and_names_the_lines():
    made(URL)
    lines = wanted("https://a.example.org/x", "https://b.example.org/x", "https://b.example.org/project")

    with pytest.raises(BadList) as refusal:
        catalog.add_all(lines, now=NOW, wake=nobody)

    assert [problem.line for problem in refusal.value.problems] == [2, 3]
    assert "already line 1" in refusal.value.problems[0].text
    assert f"it mirrors {URL}" in refusal.value.problems[1].text
    assert Mirror.objects.count() == 1


def test_groups_and_hosts_that_exist_are_used_again():
    made()
    made("https://git.example.org/team/other")

    assert (Group.objects.count(), Host.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_of_two_who_take_a_name_at_once_one_is_refused():
    start = Barrier(2)

    def one(host: str) -> str:
        start.wait()
        try:
            return made(f"https://{host}.example.org/project").path
        except NameTaken:
            return "refused"
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(one, ["a", "b"]))

    assert outcomes == ["default/project", "refused"]
    assert Mirror.objects.count() == ImportState.objects.count() == 1
