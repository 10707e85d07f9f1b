"""People at work in the admin: a real browser against the real server."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from mirroring.catalog import acting
from mirroring.flags.models import Flag
from mirroring.flags.readings import read_all
from mirroring.models import ImportState, Mirror
from mirroring.tracker.connection import connect
from tests.trial import FIRST, SECOND
from tests.web import browser

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database]

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if browser.find() is None:
        explain = "Chromium is missing: on Debian, `apt-get install chromium fonts-dejavu-core`"
        if os.environ.get("CI"):
            pytest.fail(explain)
        pytest.skip(explain)
    with pytest.MonkeyPatch.context() as patch, browser.browser() as running:
        # The browser's driver keeps an event loop in this thread, beside which Django suspects every query.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield running


@pytest.fixture
def tab(chromium: Browser, web, signed_in) -> Iterator[Page]:
    """A page of the admin, signed in. Whatever it asks the server for has to be there."""
    page = chromium.new_page(base_url=web.url)
    session = signed_in.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": web.url}])
    broken: list[str] = []
    page.on(
        "response", lambda answer: answer.status >= 400 and broken.append(f"{answer.status} {answer.url}")
    )
    page.on("pageerror", lambda error: broken.append(str(error)))
    yield page
    page.close()
    assert broken == [], web.log.read_text()[-3000:]


def row(tab: Page, flag: str):
    return tab.locator(f"#flag-{flag}")


def test_one_signs_in_with_the_right_password_only(chromium, web, operator):
    operator.set_password(PASSWORD)
    operator.save()
    page = chromium.new_page()
    page.goto(f"{web.url}/admin/")
    page.get_by_label("Username").fill("operator")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Please enter the correct username and password")).to_be_visible()

    browser.sign_in(page, web.url, user="operator", password=PASSWORD)

    expect(page.get_by_text("Slots in use").or_(page.get_by_text("being rebuilt"))).not_to_have_count(0)
    page.close()


def test_a_flag_is_turned_on_and_off(tab):
    tab.goto("/admin/")
    tab.get_by_role("link", name="Feature flags").first.click()

    row(tab, FIRST).get_by_role("button", name="Turn on").click()
    expect(row(tab, FIRST).get_by_text("on", exact=True)).to_be_visible()
    expect(row(tab, FIRST)).to_contain_text("by operator")
    assert read_all()[FIRST]

    row(tab, FIRST).get_by_role("button", name="Turn off").click()
    expect(row(tab, FIRST).get_by_text("off", exact=True)).to_be_visible()
    assert not read_all()[FIRST]


def test_the_second_flag_is_refused_while_the_first_is_off(tab):
    tab.goto("/admin/mirroring/flag/")

    row(tab, SECOND).get_by_role("button", name="Turn on").click()

    expect(tab.locator(".messagelist .error")).to_contain_text(f"requires {FIRST}")
    expect(row(tab, SECOND).get_by_text("off", exact=True)).to_be_visible()
    assert not Flag.objects.filter(name=SECOND, active=True).exists()


def test_update_now_is_one_choice_in_the_list(tab, make_mirror):
    mirror = make_mirror("team/project")
    tab.goto("/admin/mirroring/mirror/")

    tab.get_by_role("row", name="team/project").get_by_role("checkbox").check()
    tab.get_by_label("Action:").select_option(label="Update now")
    tab.get_by_role("button", name="Go").click()

    expect(tab.locator(".messagelist .success")).to_have_text("1 mirror asked for an update now")
    assert ImportState.objects.get(pk=mirror.pk).urgent


def test_a_mirror_is_paused_with_a_reason_that_the_list_shows(tab, make_mirror):
    mirror = make_mirror("team/project")
    tab.goto("/admin/mirroring/mirror/")

    tab.get_by_role("row", name="team/project").get_by_role("checkbox").check()
    tab.get_by_label("Action:").select_option(label="Pause …")
    tab.get_by_role("button", name="Go").click()
    tab.get_by_label("Reason, shown wherever the mirror is").fill("upstream moves house")
    tab.get_by_role("button", name="Pause").click()

    expect(tab.get_by_role("row", name="team/project")).to_contain_text("upstream moves house")
    assert Mirror.objects.get(pk=mirror.pk).pause_reason == "upstream moves house"


def test_the_buttons_of_a_mirror_pause_resume_and_update_it(tab, make_mirror):
    mirror = make_mirror("team/project")
    tab.goto(f"/admin/mirroring/mirror/{mirror.pk}/change/")

    tab.get_by_label("Reason to pause").fill("lunch")
    tab.get_by_role("button", name="Pause").click()
    expect(tab.locator(".state")).to_contain_text("lunch")

    tab.get_by_role("button", name="Resume").click()
    expect(tab.locator(".state")).not_to_contain_text("lunch")

    tab.get_by_role("button", name="Update now").click()
    expect(tab.locator(".messagelist .success")).to_have_text("1 mirror asked for an update now")
    assert ImportState.objects.get(pk=mirror.pk).urgent


def test_a_mirror_is_added_in_a_group_that_is_searched_for(tab, make_mirror):
    make_mirror("platform/other")
    tab.goto("/admin/mirroring/mirror/add/")

    tab.locator(".field-group .select2-selection").click()
    tab.locator(".select2-search__field").fill("plat")
    tab.get_by_role("option", name="platform").click()
    tab.get_by_label("Name").fill("project")
    tab.get_by_label("URL").fill("https://git.example.org/team/project.git")
    tab.get_by_role("button", name="Save", exact=True).click()

    expect(tab.locator(".messagelist .success")).to_contain_text("was added successfully")
    assert Mirror.objects.named("platform/project").exists()


def test_a_removed_mirror_is_found_and_restored(tab, make_mirror):
    from mirroring.catalog import removing

    mirror = make_mirror("team/project")
    removing.remove(mirror, now=connect().now())
    tab.goto("/admin/mirroring/mirror/")
    expect(tab.get_by_text("0 mirrors")).to_be_visible()

    tab.goto("/admin/mirroring/mirror/?removed=yes")
    tab.get_by_role("link", name="team/project").click()
    tab.get_by_role("button", name="Restore").click()

    expect(tab.locator(".messagelist .success")).to_contain_text("1 mirror restored")
    assert Mirror.objects.get(pk=mirror.pk).deleted_at is None


def test_the_front_page_follows_what_happens(tab, make_mirror):
    tab.goto("/admin/")
    expect(tab.locator(".tile", has_text="Active mirrors")).to_contain_text("0 paused")

    acting.pause(make_mirror("team/project"), now=connect().now())
    tab.reload()

    expect(tab.locator(".tile", has_text="Active mirrors")).to_contain_text("1 paused")
