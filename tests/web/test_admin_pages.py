"""The other pages of the admin: the front page, groups and tokens, hosts, attempts, settings, users."""

import re

import pytest

from mirroring.catalog import groups, removing
from mirroring.models import Group, GroupToken, ImportAttempt, ImportState, Mirror, SchedulingSettings
from mirroring.tracker.connection import connect
from tests.web import sample

pytestmark = pytest.mark.django_db

ADMIN = "/admin/mirroring"


def text_of(answer) -> str:
    """Return what a person reads: the page without its tags."""
    assert answer.status_code == 200
    return " ".join(re.sub(r"<[^>]*>", " ", answer.content.decode()).split())


# -- the front page -------------------------------------------------------------------------------------------------


@pytest.fixture
def busy() -> sample.Made:
    """Sixty mirrors, some of them in flight, with slots and workers."""
    now = connect().now()
    made = sample.fill(60, now=now)
    sample.occupy(connect(), made, now=now, slots=5)
    return made


def test_the_front_page_shows_the_capacity_and_who_holds_it(signed_in, busy):
    page = signed_in.get("/admin/")
    text = text_of(page)

    assert f"{len(busy.in_flight)} of 5" in text
    assert "the smaller of the setting (100) and the slots that workers announce (5)" in text
    for state in busy.in_flight:
        assert f"importing {state.mirror.path} epoch {state.epoch} {state.status}" in text
    assert re.search(r"imports@worker-1:4211 5 trial_first: on", text)
    assert "in 47 seconds" in text or "in 48 seconds" in text or "in 46 seconds" in text


def test_the_front_page_shows_when_a_worker_sees_another_value_of_a_flag_than_is_set(signed_in, busy):
    assert b"This is not the value that is set now" in signed_in.get("/admin/").content


def test_the_front_page_counts_the_mirrors_and_leads_to_them(signed_in, busy):
    page = signed_in.get("/admin/")
    overview = page.context["overview"]

    assert (
        overview.census.statuses["failed"]
        == ImportState.objects.filter(active=True, status="failed").count()
        > 0
    )
    assert overview.census.stale > 0
    assert f"{ADMIN}/mirror/?status=failed" in page.content.decode()
    links = set(re.findall(rf'href="({ADMIN}/mirror/\?[^"]*)"', page.content.decode()))
    assert len(links) >= 10
    for link in links:
        listed = signed_in.get(link.replace("&amp;", "&"))
        assert listed.status_code == 200, link


def test_each_count_of_the_front_page_is_that_of_the_list_it_leads_to(signed_in, busy):
    census = signed_in.get("/admin/").context["overview"].census

    def listed(query: str) -> int:
        return signed_in.get(f"{ADMIN}/mirror/?{query}").context["cl"].result_count

    assert listed("stale=yes&paused=no") == census.stale
    assert listed("hard_failed=yes") == census.hard_failed
    assert listed("overdue=yes") == census.overdue
    assert listed("paused=yes") == census.paused


def test_the_front_page_shows_what_waits_longest(signed_in, busy):
    text = text_of(signed_in.get("/admin/"))

    first = ImportState.objects.overdue(now=connect().now()).order_by("import_due_at").first()
    assert f"Overdue, the longest-waiting first Mirror Due Last success {first.mirror.path}" in text


def test_the_front_page_leads_to_flower_and_metrics(signed_in, settings):
    settings.FLOWER_URL = "http://127.0.0.1:15555"

    text = signed_in.get("/admin/").content.decode()

    assert 'href="http://127.0.0.1:15555"' in text
    assert 'href="/metrics"' in text


def test_without_redis_the_front_page_says_so_and_shows_what_the_rows_say(signed_in, busy, redis_down):
    text = text_of(signed_in.get("/admin/"))

    assert "Redis does not answer. Nothing new is admitted until it does" in text
    assert "Mirrors by state" in text
    assert "Who holds a slot" not in text
    assert "secret-password" not in text


def test_without_a_worker_the_front_page_says_how_to_start_one(signed_in, operator):
    connect().rebuild(processing=[], importing=[])

    assert "No live worker imports. Start one:" in text_of(signed_in.get("/admin/"))


def test_while_the_tracker_is_rebuilt_the_front_page_says_so(signed_in, operator):
    assert "The tracker is being rebuilt" in text_of(signed_in.get("/admin/"))


def test_whoever_may_not_see_mirrors_does_not_see_them_on_the_front_page(client, busy):
    from django.contrib.auth.models import User

    client.force_login(User.objects.create_user("guest", is_staff=True))

    text = text_of(client.get("/admin/"))
    assert "Can view mirror" in text
    assert busy.in_flight[0].mirror.name not in text


def test_nobody_sees_anything_without_signing_in(client, busy):
    for path in ("/admin/", f"{ADMIN}/mirror/", f"{ADMIN}/flag/", f"{ADMIN}/group/1/tokens/"):
        answer = client.get(path)
        assert (answer.status_code, answer.url.split("?")[0]) == (302, "/admin/login/")


def test_the_menu_holds_what_is_registered_and_nothing_of_waffle(signed_in, operator):
    found = [
        model["name"] for app in signed_in.get("/admin/").context["available_apps"] for model in app["models"]
    ]

    assert found == [
        "Mirrors",
        "Groups",
        "Hosts",
        "Credentials",
        "Import attempts",
        "Feature flags",
        "Rollouts",
        "Scheduling settings",
        "Users",
    ]
    assert signed_in.get("/admin/waffle/flag/").status_code == 404


# -- groups and tokens ----------------------------------------------------------------------------------------------


def test_a_group_is_added_and_changed(signed_in, operator):
    signed_in.post(f"{ADMIN}/group/add/", {"name": "team", "owner": "Ann", "contact": "", "public": "on"})
    group = Group.objects.get()
    assert (group.name, group.owner, group.public) == ("team", "Ann", True)

    signed_in.post(f"{ADMIN}/group/{group.pk}/change/", {"name": "team", "owner": "Ben", "contact": "#team"})
    group.refresh_from_db()
    assert (group.owner, group.contact, group.public) == ("Ben", "#team", False)


def test_a_group_that_owns_mirrors_is_not_deleted(signed_in, make_mirror):
    mirror = make_mirror()

    signed_in.post(f"{ADMIN}/group/{mirror.group_id}/delete/", {"post": "yes"})
    assert Group.objects.exists()

    removing.remove(mirror, now=connect().now())
    Mirror.objects.all().delete()
    signed_in.post(f"{ADMIN}/group/{mirror.group_id}/delete/", {"post": "yes"})
    assert not Group.objects.exists()


def test_groups_are_listed_with_the_numbers_of_their_mirrors_and_tokens(signed_in, make_mirror):
    group = make_mirror("team/one").group
    make_mirror("team/two")
    removing.remove(make_mirror("team/three"), now=connect().now())
    for name in ("ci", "laptop", "old"):
        groups.add_token(group, name=name)
    groups.revoke_token(group, name="old", now=connect().now())

    row = signed_in.get(f"{ADMIN}/group/").content.decode()

    assert f'href="{ADMIN}/mirror/?group={group.pk}">2</a>' in row
    assert f'href="{ADMIN}/group/{group.pk}/tokens/">2</a>' in row


def test_a_token_is_shown_once_and_opens_its_group(signed_in, operator):
    group = groups.add_group("vault", public=False)
    page = f"{ADMIN}/group/{group.pk}/tokens/"

    issued = signed_in.post(page, {"name": "ci"})
    [token] = re.findall(r'id="issued-token">([^<]+)<', issued.content.decode())

    assert "no-store" in issued["Cache-Control"]
    assert group.admits(token)
    assert GroupToken.objects.get().name == "ci"
    again = signed_in.get(page).content.decode()
    assert token not in again
    assert ">ci<" in again
    assert token not in str(signed_in.session.items())


def test_a_token_is_revoked(signed_in, operator):
    group = groups.add_group("vault", public=False)
    token = groups.add_token(group, name="ci")[1]

    answer = signed_in.post(f"{ADMIN}/group/{group.pk}/tokens/", {"revoke": "ci"})

    assert not group.admits(token)
    assert "The token ci opens nothing any more" in answer.content.decode()


def test_a_token_that_cannot_be_issued_says_why(signed_in, operator):
    group = groups.add_group("vault", public=False)
    groups.add_token(group, name="ci")

    for name, reason in (("", "Name the token"), ("ci", "has a token")):
        answer = signed_in.post(f"{ADMIN}/group/{group.pk}/tokens/", {"name": name})
        assert reason in answer.content.decode()
    assert GroupToken.objects.count() == 1


def test_tokens_are_for_those_who_may_change_the_group(client, operator):
    from django.contrib.auth.models import Permission, User

    group = groups.add_group("vault", public=False)
    reader = User.objects.create_user("reader", is_staff=True)
    reader.user_permissions.add(
        Permission.objects.get(codename="view_group", content_type__app_label="mirroring")
    )
    client.force_login(reader)

    assert client.post(f"{ADMIN}/group/{group.pk}/tokens/", {"name": "mine"}).status_code == 403
    assert not GroupToken.objects.exists()


# -- hosts, attempts, settings, users -------------------------------------------------------------------------------


def test_hosts_are_listed_with_their_counts_and_cannot_be_changed(signed_in, make_mirror):
    failing = make_mirror("a/one")
    make_mirror("a/two")
    removing.remove(make_mirror("a/gone"), now=connect().now())
    ImportState.objects.filter(pk=failing.pk).update(retry_count=3)

    text = text_of(signed_in.get(f"{ADMIN}/host/"))

    assert "git.example.org 25 slots, 0 in use 2 0 1 0" in text
    assert signed_in.get(f"{ADMIN}/host/add/").status_code == 403
    assert signed_in.post(f"{ADMIN}/host/{failing.host_id}/change/", {"name": "x"}).status_code == 403
    assert signed_in.post(f"{ADMIN}/host/{failing.host_id}/delete/", {"post": "yes"}).status_code == 403


def test_attempts_are_listed_the_latest_first_and_cannot_be_changed(signed_in, busy):
    page = signed_in.get(f"{ADMIN}/importattempt/")
    shown = [attempt.pk for attempt in page.context["cl"].result_list]

    assert shown == list(ImportAttempt.objects.order_by("-id").values_list("pk", flat=True)[:50])
    assert signed_in.get(f"{ADMIN}/importattempt/?outcome__exact=gone").status_code == 200
    assert (
        signed_in.post(f"{ADMIN}/importattempt/{shown[0]}/change/", {"outcome": "changed"}).status_code == 403
    )


def test_attempts_beyond_what_can_be_paged_through_are_not_counted(signed_in, busy, monkeypatch):
    from mirroring.web.admin import attempts

    monkeypatch.setattr(attempts, "COUNTED", 60)

    assert signed_in.get(f"{ADMIN}/importattempt/").context["cl"].paginator.num_pages == 2


def test_the_list_of_settings_leads_to_the_one_row_and_makes_it(signed_in, operator):
    answer = signed_in.get(f"{ADMIN}/schedulingsettings/", follow=True)

    assert answer.redirect_chain == [(f"{ADMIN}/schedulingsettings/1/change/", 302)]
    assert 'name="mirror_max_capacity" value="100"' in answer.content.decode()
    assert signed_in.get(f"{ADMIN}/schedulingsettings/add/").status_code == 403
    assert signed_in.post(f"{ADMIN}/schedulingsettings/1/delete/", {"post": "yes"}).status_code == 403


def settings_form(client) -> dict[str, object]:
    form = client.get(f"{ADMIN}/schedulingsettings/1/change/").context["adminform"].form
    return {name: value for name, value in form.initial.items() if value is not False}


@pytest.mark.django_db(transaction=True)
def test_settings_are_saved_and_the_scheduler_is_woken(signed_in, operator):
    values = settings_form(signed_in)

    signed_in.post(
        f"{ADMIN}/schedulingsettings/1/change/", {**values, "mirror_max_capacity": 7, "paused_all": "on"}
    )

    current = SchedulingSettings.current()
    assert (current.mirror_max_capacity, current.paused_all, current.tick_seconds) == (7, True, 60)
    assert not connect().knock(), "a wake-up is pending"


def test_two_people_who_change_different_settings_do_not_undo_each_other(signed_in, operator):
    values = settings_form(signed_in)
    SchedulingSettings.objects.update(tick_seconds=5)
    stale = {**values, "tick_seconds": 5, "mirror_max_capacity": 7}
    SchedulingSettings.objects.update(tick_seconds=5, lease_seconds=33)

    signed_in.post(f"{ADMIN}/schedulingsettings/1/change/", {**stale, "lease_seconds": 33})

    assert SchedulingSettings.current().mirror_max_capacity == 7
    assert SchedulingSettings.current().lease_seconds == 33


def test_settings_that_contradict_each_other_are_refused(signed_in, operator):
    values = settings_form(signed_in)

    answer = signed_in.post(
        f"{ADMIN}/schedulingsettings/1/change/", {**values, "mirror_min_delay_seconds": 99_999}
    )

    assert "must not exceed" in answer.content.decode()
    assert SchedulingSettings.current().mirror_min_delay_seconds == 1800


def test_users_are_listed_and_added(signed_in, operator):
    data = {
        "username": "ann",
        "password1": "a long enough one",
        "password2": "a long enough one",
        "usable_password": "true",
    }

    signed_in.post("/admin/auth/user/add/", data)

    assert "ann" in text_of(signed_in.get("/admin/auth/user/"))
    assert signed_in.get(f"/admin/auth/user/{operator.pk}/change/").status_code == 200
