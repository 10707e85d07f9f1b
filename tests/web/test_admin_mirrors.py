"""The mirrors in the admin: what the list says of them, what the actions do, what a form cannot write."""

from datetime import timedelta

import pytest

from mirroring.catalog import acting, groups, removing
from mirroring.models import ImportAttempt, ImportState, Mirror, SchedulingSettings
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import Status
from mirroring.tracker.connection import connect
from mirroring.upstream.policy.guard import AllowList

pytestmark = pytest.mark.django_db

LIST = "/admin/mirroring/mirror/"


def ago(**span: float):
    return connect().now() - timedelta(**span)


def page(client, path: str = LIST, **query: str) -> str:
    answer = client.get(path, query)
    assert answer.status_code == 200
    return answer.content.decode()


def act(client, action: str, *mirrors: Mirror, **more: object):
    data = {"action": action, "_selected_action": [mirror.pk for mirror in mirrors], **more}
    return client.post(LIST, data, follow=True)


def state(mirror: Mirror) -> ImportState:
    return ImportState.objects.get(pk=mirror.pk)


def write(mirror: Mirror, **values: object) -> Mirror:
    ImportState.objects.filter(pk=mirror.pk).update(**values)
    return mirror


def names(client, **query: str) -> set[str]:
    """Return the names on the first page of the list."""
    answer = client.get(LIST, query)
    return {mirror.name for mirror in answer.context["cl"].result_list}


# -- what the list says ---------------------------------------------------------------------------------------------


def test_a_mirror_that_was_never_imported_says_never(signed_in, make_mirror):
    make_mirror()

    text = page(signed_in)

    assert ">never</span>" in text
    assert "waits for a slot" in text


def test_a_fresh_mirror_shows_the_age_of_its_last_success(signed_in, make_mirror):
    success = {"last_successful_update_at": ago(minutes=3), "last_outcome": Outcome.UNCHANGED}
    write(make_mirror(), status=Status.FINISHED, **success)

    text = page(signed_in)

    assert "3 minutes ago" in text
    assert ">stale</span>" not in text


def test_a_stale_mirror_looks_stale_and_says_why_and_when_it_is_tried_next(signed_in, make_mirror):
    soon = ago(minutes=-20) + timedelta(seconds=30)
    write(
        make_mirror(),
        status=Status.FAILED,
        last_successful_update_at=ago(days=2),
        last_outcome=Outcome.AUTH,
        last_error="fatal: Authentication failed <script>",
        retry_count=4,
        next_execution_at=soon,
        import_due_at=soon,
    )

    text = page(signed_in)

    assert ">stale</span>" in text
    assert "2 days ago" in text
    assert "fatal: Authentication failed &lt;script&gt;" in text
    assert "4 times in a row" in text
    assert "in 20 minutes" in text


def test_a_paused_mirror_shows_the_reason(signed_in, make_mirror):
    acting.pause(make_mirror(), now=connect().now(), reason="moves <soon>")

    text = page(signed_in)

    assert ">paused</span>" in text
    assert "moves &lt;soon&gt;" in text
    assert "not while paused" in text


def test_the_settings_decide_what_is_stale(signed_in, make_mirror):
    write(make_mirror(), status=Status.FINISHED, last_successful_update_at=ago(hours=1))
    assert ">stale</span>" not in page(signed_in)

    SchedulingSettings(mirror_min_delay_seconds=60, mirror_max_delay_seconds=600).save()

    assert ">stale</span>" in page(signed_in)


@pytest.fixture
def all_kinds(make_mirror):
    """One mirror of each kind that a filter tells apart."""
    now = connect().now()
    old, later = now - timedelta(days=9), now + timedelta(hours=1)
    success = {"status": Status.FINISHED, "last_outcome": Outcome.CHANGED, "next_execution_at": later}
    rest = {**success, "import_due_at": later}
    write(make_mirror("a/fresh"), last_successful_update_at=now, **rest)
    write(make_mirror("a/stale"), last_successful_update_at=old, **rest)
    write(make_mirror("a/waits", "https://code.example.net/x/y.git"))
    failed = {"status": Status.FAILED, "last_outcome": Outcome.GONE, "retry_count": 15, "hard_failed": True}
    write(make_mirror("a/hard"), **failed, last_successful_update_at=old, import_due_at=None)
    acting.pause(write(make_mirror("b/paused"), last_successful_update_at=now, **rest), now=now)
    removing.remove(write(make_mirror("b/removed"), last_successful_update_at=now, **rest), now=now)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, {"fresh", "stale", "waits", "hard", "paused"}),
        ({"status": "failed"}, {"hard"}),
        ({"status": "none"}, {"waits"}),
        ({"outcome": "gone"}, {"hard"}),
        ({"stale": "yes"}, {"stale", "hard"}),
        ({"stale": "no"}, {"fresh", "waits", "paused"}),
        ({"hard_failed": "yes"}, {"hard"}),
        ({"overdue": "yes"}, {"waits"}),
        ({"paused": "yes"}, {"paused"}),
        ({"paused": "no"}, {"fresh", "stale", "waits", "hard"}),
        ({"removed": "yes"}, {"removed"}),
        ({"q": "b/pau"}, {"paused"}),
        ({"q": "code.example.net"}, {"waits"}),
        ({"q": "nothing like this"}, set()),
    ],
)
def test_a_filter_finds_its_mirrors(query, found, signed_in, all_kinds):
    assert names(signed_in, **query) == found


def test_the_filters_by_group_and_host_find_their_mirrors(signed_in, all_kinds):
    waits = Mirror.objects.get(name="waits")

    assert names(signed_in, host=str(waits.host_id)) == {"waits"}
    assert names(signed_in, group=str(waits.group_id)) == {"fresh", "stale", "waits", "hard"}
    assert names(signed_in, group="x") == names(signed_in)


def test_the_filter_for_stale_mirrors_agrees_with_what_each_row_says(signed_in, db):
    from mirroring.catalog.freshness import Freshness, freshness
    from tests.web import sample

    now = connect().now()
    sample.fill(120, now=now)
    cadence = SchedulingSettings.current().cadence

    judged = {
        mirror.name
        for mirror in Mirror.objects.select_related("state")
        if freshness(mirror, now=now, cadence=cadence) is Freshness.STALE
    }

    assert judged
    assert {
        mirror.name for mirror in signed_in.get(LIST, {"stale": "yes", "all": ""}).context["cl"].result_list
    } == judged


# -- what the actions do --------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_update_now_puts_a_mirror_before_every_backlog_and_wakes_the_scheduler(signed_in, make_mirror):
    mirror = write(make_mirror(), next_execution_at=ago(hours=-2), import_due_at=ago(hours=-2))

    answer = act(signed_in, "update_now", mirror)

    assert state(mirror).urgent
    assert state(mirror).import_due_at < ago(days=3000)
    assert "1 mirror asked for an update now" in answer.content.decode()
    assert not connect().knock(), "a wake-up is pending"


def test_pausing_asks_for_the_reason_first(signed_in, make_mirror):
    mirror = make_mirror()

    asked = act(signed_in, "pause", mirror)

    assert "Reason, shown wherever the mirror is" in asked.content.decode()
    assert Mirror.objects.get(pk=mirror.pk).paused_at is None


def test_paused_mirrors_keep_the_reason_until_they_are_resumed(signed_in, make_mirror):
    first, second = make_mirror("a/one"), make_mirror("a/two")

    act(signed_in, "pause", first, second, reason=" holidays ")

    assert set(Mirror.objects.values_list("pause_reason", flat=True)) == {"holidays"}
    assert not state(first).active

    act(signed_in, "resume", first)

    assert state(first).active
    assert Mirror.objects.get(pk=first.pk).paused_at is None
    assert not state(second).active


def test_retry_forgives_a_hard_failure(signed_in, make_mirror):
    mirror = write(make_mirror(), status=Status.FAILED, retry_count=15, hard_failed=True, import_due_at=None)

    act(signed_in, "retry", mirror)

    assert (state(mirror).hard_failed, state(mirror).retry_count) == (False, 0)
    assert state(mirror).import_due_at is not None


def test_removed_mirrors_can_be_restored(signed_in, make_mirror):
    mirror = make_mirror()

    act(signed_in, "remove", mirror)
    assert names(signed_in) == set()

    signed_in.post(f"{LIST}?removed=yes", {"action": "restore", "_selected_action": [mirror.pk]})
    assert names(signed_in) == {"project"}


def test_what_is_refused_for_one_mirror_is_done_for_the_others_and_said(signed_in, make_mirror):
    one, two = make_mirror("a/one"), make_mirror("a/two")
    acting.pause(one, now=connect().now())

    text = act(signed_in, "update_now", one, two).content.decode()

    assert "1 mirror asked for an update now" in text
    assert "Not done: a/one is paused: resume it first" in text


def test_too_many_mirrors_at_once_are_refused(signed_in, db, monkeypatch):
    from mirroring.web.admin import mirror_actions
    from tests.web import sample

    sample.fill(12, now=connect().now())
    monkeypatch.setattr(mirror_actions, "LIMIT", 10)
    everything = [str(pk) for pk in Mirror.objects.values_list("pk", flat=True)]

    data = {"action": "remove", "_selected_action": everything, "select_across": "1"}
    answer = signed_in.post(LIST, data, follow=True)

    assert "More than 10 mirrors were chosen" in answer.content.decode()
    assert not Mirror.objects.filter(deleted_at__isnull=False).exists()


def test_who_may_only_look_is_offered_no_action_and_can_do_none(client, make_mirror):
    from django.contrib.auth.models import Permission, User

    mirror = make_mirror()
    reader = User.objects.create_user("reader", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_mirror"))
    client.force_login(reader)

    assert "Update now" not in page(client)
    assert "Update now" not in page(client, f"{LIST}{mirror.pk}/change/")
    act(client, "remove", mirror)
    assert client.post(f"{LIST}{mirror.pk}/act/remove/").status_code == 403
    assert Mirror.objects.get().deleted_at is None


# -- the page of one mirror -----------------------------------------------------------------------------------------


def form(mirror: Mirror, **changes: object) -> dict[str, object]:
    inline = {"attempts-TOTAL_FORMS": 0, "attempts-INITIAL_FORMS": 0}
    values = {"group": mirror.group_id, "name": mirror.name, "url": mirror.url, "ref_selection": "default"}
    return {**inline, **values, "ref_patterns": "", "on_divergence": "overwrite", **changes}


def test_the_page_of_a_mirror_says_where_it_stands_and_how_to_clone_it(signed_in, make_mirror):
    mirror = write(make_mirror(), last_outcome=Outcome.HUNG, last_error="timed out", retry_count=2)

    text = page(signed_in, f"{LIST}{mirror.pk}/change/")

    assert f"{mirror.path}.git</code>" in text
    assert "timed out" in text
    assert str(mirror.repository) in text


def test_the_last_attempts_are_there_to_read(signed_in, make_mirror):
    mirror, other = make_mirror("a/one"), make_mirror("a/two")
    for epoch in range(1, 31):
        times = {"started_at": ago(minutes=60 - epoch), "ended_at": ago(minutes=60 - epoch, seconds=-7)}
        ImportAttempt.objects.create(mirror=mirror, epoch=epoch, worker=f"worker-{epoch}.", **times)
    ImportAttempt.objects.create(mirror=other, epoch=1, worker="worker-of-another", started_at=ago(minutes=1))

    text = page(signed_in, f"{LIST}{mirror.pk}/change/")

    assert "worker-30." in text
    assert "worker-11." in text
    assert "worker-10." not in text
    assert "worker-of-another" not in text
    assert "7.0 s" in text


@pytest.mark.django_db(transaction=True)
def test_a_form_adds_a_mirror_that_is_due_at_once(signed_in, db):
    group = groups.add_group("team")
    data = {
        "group": group.pk,
        "name": "new",
        "url": "https://GIT.example.org/x/y.git/",
        "ref_selection": "default",
    }

    answer = signed_in.post(f"{LIST}add/", {**data, "ref_patterns": "", "on_divergence": "keep"})

    mirror = Mirror.objects.get()
    assert answer.status_code == 302
    assert (mirror.path, mirror.url, mirror.host.name) == (
        "team/new",
        "https://git.example.org/x/y.git",
        "git.example.org",
    )
    assert state(mirror).import_due_at is not None
    assert mirror.on_divergence == "keep"
    assert not connect().knock(), "a wake-up is pending"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"url": "file:///etc"}, "is not accepted"),
        ({"url": "https://user:pass@git.example.org/x"}, "user name or password"),
        ({"name": "../x"}, "Use letters, digits"),
        ({"name": "taken"}, "Another mirror of that group has that name"),
        ({"ref_selection": "patterns"}, "needs a pattern"),
        ({"ref_selection": "patterns", "ref_patterns": "heads/x"}, "does not start with refs/"),
        ({"ref_patterns": "refs/heads/x"}, "do not go with the selection"),
    ],
)
def test_a_form_that_cannot_be_used_says_what_to_do(values, text, signed_in, make_mirror):
    make_mirror("default/taken")
    mirror = make_mirror("default/mine")
    before = Mirror.objects.filter(pk=mirror.pk).values().get()

    answer = signed_in.post(f"{LIST}{mirror.pk}/change/", form(mirror, **values))

    assert answer.status_code == 200
    assert text in answer.content.decode()
    assert Mirror.objects.filter(pk=mirror.pk).values().get() == before


def test_a_form_does_not_judge_again_a_url_that_stays(signed_in, make_mirror, settings):
    mirror = make_mirror()
    Mirror.objects.filter(pk=mirror.pk).update(url="http://127.0.0.1:3000/team/project")
    mirror.refresh_from_db()
    settings.ALLOW_PRIVATE_UPSTREAMS = AllowList()

    kept = signed_in.post(f"{LIST}{mirror.pk}/change/", form(mirror, on_divergence="keep"))
    other = form(mirror, url="http://127.0.0.1:3000/team/other")
    refused = signed_in.post(f"{LIST}{mirror.pk}/change/", other)

    assert (kept.status_code, Mirror.objects.get().on_divergence) == (302, "keep")
    assert "is not on the public Internet" in refused.content.decode()


def test_a_form_changes_the_configuration_and_asks_for_an_import(signed_in, make_mirror):
    mirror = write(make_mirror(), next_execution_at=ago(hours=-2), import_due_at=ago(hours=-2))
    patterns = "refs/heads/main\r\n\r\n refs/tags/v* \r\n"

    signed_in.post(
        f"{LIST}{mirror.pk}/change/", form(mirror, ref_selection="patterns", ref_patterns=patterns)
    )

    changed = Mirror.objects.get()
    assert changed.ref_patterns == ["refs/heads/main", "refs/tags/v*"]
    assert changed.config_version == 2
    assert state(mirror).urgent


def test_a_form_writes_no_state_whatever_is_sent(signed_in, make_mirror):
    mirror = make_mirror()
    before = ImportState.objects.values().get()
    kept = {"storage_id", "paused_at", "deleted_at", "config_version", "host_id"}
    frozen = {name: value for name, value in Mirror.objects.values().get().items() if name in kept}
    forged = {
        "state": "x",
        "status": "finished",
        "epoch": 99,
        "active": "",
        "hard_failed": "on",
        "retry_count": 7,
    }
    forged |= {"storage_id": "0" * 32, "paused_at": "2020-01-01", "deleted_at": "2020-01-01", "host": 99}

    answer = signed_in.post(f"{LIST}{mirror.pk}/change/", form(mirror, **forged))

    assert answer.status_code == 302
    assert ImportState.objects.values().get() == before
    assert {name: value for name, value in Mirror.objects.values().get().items() if name in kept} == frozen


def test_a_removed_mirror_cannot_be_edited_but_restored(signed_in, make_mirror):
    mirror = make_mirror()
    removing.remove(mirror, now=connect().now())

    text = page(signed_in, f"{LIST}{mirror.pk}/change/")
    refused = signed_in.post(f"{LIST}{mirror.pk}/change/", form(mirror, name="other"))
    signed_in.post(f"{LIST}{mirror.pk}/act/restore/")

    assert ">Restore</button>" in text
    assert refused.status_code == 403
    assert Mirror.objects.get().deleted_at is None
    assert Mirror.objects.get().name == "project"


def test_mirrors_are_not_deleted_here(signed_in, make_mirror):
    mirror = make_mirror()

    assert signed_in.post(f"{LIST}{mirror.pk}/delete/", {"post": "yes"}).status_code == 403
    act(signed_in, "delete_selected", mirror, post="yes")
    assert Mirror.objects.exists()


def test_an_act_is_done_by_post_only_and_only_if_there_is_one(signed_in, make_mirror):
    mirror = make_mirror()

    assert signed_in.get(f"{LIST}{mirror.pk}/act/remove/").status_code == 405
    assert signed_in.post(f"{LIST}{mirror.pk}/act/explode/").status_code == 404
    assert signed_in.post(f"{LIST}999999/act/sync/").status_code == 404


def test_the_page_of_a_mirror_that_is_not_there_leads_back(signed_in, db):
    assert signed_in.get(f"{LIST}999999/change/").status_code == 302
    assert signed_in.get(f"{LIST}x/change/").status_code == 302
