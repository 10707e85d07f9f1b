import io
import json
import sys
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management.base import CommandError

from mirroring import catalog
from mirroring.models import ImportState, Mirror
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import Status
from mirroring.tracker.connection import connect, present
from tests.catalog.samples import LATER, NOW, URL, hard_failed, imported, in_flight, made, nobody, state
from tests.lab import repositories
from tests.making import heads_and_tags, refs_of

pytestmark = pytest.mark.django_db

FIELDS = {
    "id", "name", "url", "status", "epoch", "paused", "retry_count", "last_outcome", "last_error",
    "last_successful_update_at", "last_update_at", "next_execution_at", "clone_url", "repository",
}  # fmt: skip
"""What scripts may rely on."""


@pytest.fixture
def worker() -> None:
    """Have a worker announce slots, so that nothing stands in the way of an import."""
    connect().rebuild(processing=[], importing=[])
    connect().announce("worker", slots=4, flags={}, life=timedelta(minutes=1))


def test_add_prints_what_happens_next_and_how_to_clone(manage, worker):
    done = manage("mirror", "add", URL)

    assert done.out.splitlines() == [
        f"Added default/project, which mirrors {URL}.",
        "Its import starts as soon as a slot is free.",
        "Clone it: git clone http://127.0.0.1:8000/git/default/project.git",
    ]


def test_add_says_so_where_no_worker_runs(manage):
    connect().rebuild(processing=[], importing=[])

    assert "No import starts while no worker runs: `make up`" in manage("mirror", "add", URL).out


def test_add_takes_group_name_and_refs(manage):
    done = manage(
        "mirror", "add", URL, "--group", "tools", "--name", "p", "--pattern", "refs/tags/v*", "--json"
    )

    assert done.data["name"] == "tools/p"
    assert Mirror.objects.get().refspecs == ["+refs/tags/v*:refs/tags/v*"]


def test_adding_wakes_the_scheduler(manage, redis_client, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        manage("mirror", "add", URL)

    assert redis_client.exists("{mirroring}:wake")


@pytest.mark.parametrize(
    "act",
    ["add", "show", "explain", "sync", "edit", "pause", "resume", "retry", "cancel", "remove", "restore"],
)
def test_every_act_prints_the_mirror_as_json(manage, act):
    words = {"add": [URL], "edit": ["project", "--name", "project"]}.get(act, ["project"])
    if act != "add":
        prepare(act)

    done = manage("mirror", act, *words, "--json")

    assert (done.code, done.err) == (0, "")
    assert done.data.keys() >= FIELDS
    assert done.data["name"] == "default/project"
    assert datetime.fromisoformat(done.data["next_execution_at"]).utcoffset() == timedelta(0)


def prepare(act: str) -> None:
    mirror = made()
    if act == "resume":
        catalog.pause(mirror, now=NOW)
    if act == "restore":
        catalog.remove(mirror, now=present())
    if act == "retry":
        hard_failed(mirror)
    if act == "cancel":
        in_flight(mirror)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("sync", "Asked for an import of default/project."),
        (
            "pause",
            "It is not imported until `manage.py mirror resume default/project` (no reason was given).",
        ),
        ("resume", "Resumed default/project."),
        ("retry", "default/project is tried again."),
        ("cancel", "Its import is being stopped"),
        ("remove", "days; until then `manage.py mirror restore default/project` brings it back."),
        ("restore", "Clone it: git clone"),
    ],
)
def test_every_act_says_what_it_did(manage, act, said):
    prepare(act)

    assert said in manage("mirror", act, "project").out


def test_edit_changes_what_it_names(manage):
    made()

    done = manage(
        "mirror", "edit", "project", "--url", "https://h.example.org/x", "--name", "n", "--refs", "all"
    )

    assert done.out.startswith("Changed name, selection, url of default/n.\n")
    assert "Clone it: git clone http://127.0.0.1:8000/git/default/n.git" in done.out
    assert "is like that already" in manage("mirror", "edit", "n", "--refs", "all").out


def test_what_becomes_of_rewritten_branches_is_chosen_and_shown(manage):
    mirror = made()
    assert "follow the upstream" in manage("mirror", "show", "project").out

    done = manage("mirror", "edit", "project", "--on-divergence", "keep")

    assert done.out.startswith("Changed on_divergence of default/project.\n")
    assert "keep what is mirrored" in manage("mirror", "show", "project").out
    assert manage("mirror", "show", "project", "--json").data["on_divergence"] == "keep"
    mirror.refresh_from_db()
    assert mirror.config_version == 2
    manage("mirror", "add", "https://git.example.org/x/kept", "--on-divergence", "keep")
    assert manage("mirror", "show", "kept", "--json").data["on_divergence"] == "keep"


def test_restore_takes_another_name(manage):
    catalog.remove(made(), now=present())

    assert manage("mirror", "restore", "project", "--as", "again", "--json").data["name"] == "default/again"


def test_a_list_shows_ages_failures_and_what_is_stale(manage):
    imported(made(name="fresh"), next_at=present() + timedelta(hours=2, minutes=1))
    ImportState.objects.update(last_successful_update_at=present() - timedelta(minutes=3, seconds=1))
    imported(made(name="old"), next_at=NOW)
    hard_failed(made(name="broken"))
    catalog.pause(made(name="still"), now=NOW)

    rows = [line.split("  ") for line in manage("mirror", "list").out.splitlines()[2:]]

    assert [[cell.strip() for cell in row if cell.strip()] for row in rows] == [
        [
            "default/broken",
            "paused for its credential",
            "never (stale)",
            "never by itself",
            "15 in a row, auth: Authentication failed",
        ],
        ["default/fresh", "finished", "3 minutes ago", "in 2 hours"],
        ["default/old", "finished", f"{(present() - NOW).days} days ago (stale)", "now"],
        ["default/still", "paused", "never", "never by itself", "no reason was given"],
    ]


def test_why_a_mirror_is_paused_is_in_the_list_and_in_the_explanation(manage):
    mirror = hard_failed(made())
    manage("mirror", "pause", "project", "--reason", "moving house")

    assert "moving house; 15 in a row, auth: " in manage("mirror", "list").out
    assert f"`manage.py mirror resume {mirror.path}` (reason: moving house)." in explained_text(manage)
    manage("mirror", "resume", "project")
    manage("mirror", "pause", "project")
    assert f"`manage.py mirror resume {mirror.path}` (no reason was given)." in explained_text(manage)
    catalog.remove(mirror, now=present())
    assert "no reason" not in manage("mirror", "list", "--removed").out


def explained_text(manage) -> str:
    return manage("mirror", "explain", "project").out


def test_explain_of_a_blocked_mirror_says_what_tries_again_at_once(manage, worker):
    mirror = made()
    claim = in_flight(mirror)
    held = ImportState.objects.held(claim, now=NOW)
    held.settle(Status.FAILED, now=NOW, outcome=Outcome.BLOCKED, next_execution_at=LATER, last_error="no")

    assert f"`manage.py mirror sync {mirror.path}` tries again at once." in explained_text(manage)

    catalog.pause(mirror, now=NOW)
    assert "mirror sync" not in explained_text(manage)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), {"a", "b", "c", "d"}),
        (("--group", "other"), {"d"}),
        (("--status", "none"), {"c", "d"}),
        (("--status", "finished"), {"a"}),
        (("--status", "hard-failed"), {"b"}),
        (("--status", "paused"), {"c"}),
        (("--status", "stale"), {"a", "b"}),
        (("--status", "removed"), {"e"}),
        (("--removed",), {"e"}),
        (("--status", "started"), set()),
    ],
)
def test_a_list_is_narrowed_by_status_and_group(manage, options, names):
    imported(made(name="a"), next_at=LATER)
    hard_failed(made(name="b"))
    catalog.pause(made(name="c"), now=NOW)
    made(name="d", group="other")
    catalog.remove(made(name="e"), now=NOW)

    listed = manage("mirror", "list", *options, "--json").data

    assert {mirror["name"].partition("/")[2] for mirror in listed} == names


def test_edit_to_a_name_that_is_taken_is_refused_with_what_it_mirrors(manage):
    made(name="taken")
    mirror = made(name="mine")

    refused = manage("mirror", "edit", "mine", "--name", "taken")

    assert refused.code == 1
    assert "default/taken is taken" in refused.err
    assert "Traceback" not in refused.err
    mirror.refresh_from_db()
    assert mirror.name == "mine"


def test_an_empty_list_says_how_to_begin(manage):
    assert "manage.py mirror add URL" in manage("mirror", "list").out
    made()
    assert manage("mirror", "list", "--status", "failed").out == "No such mirrors.\n"
    assert manage("mirror", "list", "--group", "nothing").code == 1


def test_show_prints_age_reason_and_next_attempt(manage):
    hard_failed(made())

    shown = dict(line.split("  ", 1) for line in manage("mirror", "show", "project").out.splitlines())

    assert shown["status"].strip() == "paused for its credential"
    assert shown["last success"].strip() == "never (stale)"
    assert shown["next import"].strip() == "never by itself"
    assert shown["failure"].strip() == "15 in a row, auth: Authentication failed"
    assert shown["clone"].strip() == "git clone http://127.0.0.1:8000/git/default/project.git"


def test_what_an_upstream_says_cannot_command_the_terminal(manage):
    claim = in_flight(made())
    ImportState.objects.held(claim, now=NOW).settle(
        Status.FAILED,
        now=NOW,
        outcome=Outcome.GONE,
        next_execution_at=NOW,
        last_error="\x1b]0;owned\x07[red]x",
    )

    for act in (["list"], ["show", "project"], ["explain", "project"]):
        out = manage("mirror", *act).out
        assert "\x1b" not in out
        assert "[red]x" in out


def explained(manage, mirror: Mirror) -> str:
    return manage("mirror", "explain", mirror.path, "--json").data["explanation"]


def test_explain_names_what_stands_in_the_way(manage, worker):
    mirror = made()
    assert explained(manage, mirror) == "Its import starts as soon as a slot is free"

    manage("settings", "set", "mirror_max_capacity", "0")
    assert "a capacity of 0" in explained(manage, mirror)
    manage("settings", "set", "paused_all", "true")
    assert "paused_all is set: `manage.py settings set paused_all false`" in explained(manage, mirror)
    manage("settings", "set", "silent_mode", "true")
    assert "silent_mode is set" in explained(manage, mirror)


def test_explain_follows_an_import(manage, worker):
    mirror, now = made(), present()
    [claim] = ImportState.objects.claim_due(1, now=now, until=now + timedelta(minutes=1))
    assert "waits for its slot" in explained(manage, mirror)

    ImportState.objects.schedule(claim, now=now, until=now + timedelta(minutes=1))
    assert "as soon as a worker takes it" in explained(manage, mirror)

    ImportState.objects.start(claim, now=now, until=now + timedelta(minutes=1))
    assert explained(manage, mirror).startswith("Its import runs, since")

    ImportState.objects.settle(
        Status.FINISHED, now=now, outcome=Outcome.CHANGED, next_execution_at=now + timedelta(minutes=90)
    )
    assert explained(manage, mirror) == "Its next import starts in 1 hour"


def test_explain_gives_the_reason_of_a_failure_and_the_remedy(manage):
    hard_failed(made())

    out = manage("mirror", "explain", "project").out

    assert "`manage.py mirror retry default/project`" in out
    assert "Its last import ended as auth: Authentication failed" in out


def test_a_list_is_imported_and_the_rest_is_reported(manage, worker, tmp_path):
    made()
    listed = tmp_path / "list.csv"
    listed.write_text(f"url,name\n{URL},\nhttps://h.example.org/a,one\n")

    done = manage("mirror", "import", listed)

    assert done.out.splitlines() == [
        "Added 1 mirror, skipped 1.",
        "Their imports start as soon as slots are free.",
        "Watch them: manage.py mirror list",
    ]
    assert done.err == f"{listed}:2: skipped default/project: already mirrored\n"


def test_of_many_skipped_lines_the_first_are_named_and_all_are_counted(manage, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"https://h.example.org/p{number}\n" for number in range(25)))
    manage("mirror", "import", listed)

    done = manage("mirror", "import", listed)

    assert done.out.startswith("Added 0 mirrors, skipped 25.\n")
    assert len(done.err.splitlines()) == 21
    assert done.err.endswith("Skipped beside these: 5 lines.\n")


def test_an_imported_list_is_printed_as_json(manage, tmp_path):
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps([URL, "https://h.example.org/team/a"]))

    done = manage("mirror", "import", listed, "--group-from-url", "--json")

    assert [mirror["name"] for mirror in done.data] == ["team/project", "team/a"]
    assert done.data[0].keys() >= FIELDS
    assert manage("mirror", "import", listed, "--group-from-url", "--json").data == []


def test_a_list_is_read_from_the_standard_input(manage, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{URL}\n".encode())))

    assert manage("mirror", "import", "-", "--group", "tools", "--json").data[0]["name"] == "tools/project"


def test_all_bad_lines_of_a_list_are_printed_and_nothing_is_added(manage, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{URL}\nnonsense\nftp://x/y\n")

    done = manage("mirror", "import", listed)

    assert done.code == 1
    assert [line.partition(" ")[0] for line in done.err.splitlines()[:2]] == [f"{listed}:2:", f"{listed}:3:"]
    assert done.err.splitlines()[2] == "2 lines cannot be used. Nothing was added"
    assert not Mirror.objects.exists()


def test_a_removed_mirror_shows_how_long_it_can_be_restored(manage):
    mirror = catalog.remove(made(), now=present() - timedelta(hours=1))

    [shown] = manage("mirror", "list", "--status", "removed", "--json").data

    assert datetime.fromisoformat(shown["removed_at"]) == mirror.deleted_at.astimezone(UTC)
    assert state(mirror).active is False
    assert catalog.restore(mirror, now=present(), wake=nobody)


# -- adopting --------------------------------------------------------------------------------------------------------


@pytest.fixture
def original(tmp_path, settings):
    settings.REPOSITORIES_DIR = tmp_path / "repositories"
    return repositories.make_upstream(tmp_path, seed=1, number=0, shape="pulls").path


def test_adopt_says_what_was_taken_and_what_was_left_out(manage, worker, original):
    done = manage("mirror", "adopt", original, URL)

    refs, left_out = len(heads_and_tags(original)), len(refs_of(original, "refs/pull"))
    assert done.out.splitlines() == [
        (
            f"Adopted {refs} ref as default/project, which mirrors {URL}. Left out, as it does not select them: "
            f"{left_out} refs. The original is as it was."
        ),
        "Its import starts as soon as a slot is free.",
        "Clone it: git clone http://127.0.0.1:8000/git/default/project.git",
    ]


def test_adopt_takes_the_refs_that_are_asked_for(manage, original):
    done = manage("mirror", "adopt", original, URL, "--refs", "all", "--json")

    assert done.data["name"] == "default/project"
    assert refs_of(Mirror.objects.get().repository) == refs_of(original)


def test_a_list_is_adopted_as_far_as_it_can_be_and_the_rest_is_told(manage, original, tmp_path):
    file = tmp_path / "list"
    file.write_text(f"{original} {URL}\n{tmp_path}/nothing https://git.example.org/team/other\n")

    done = manage("mirror", "adopt-list", file, "--over", "90")

    assert done.code == 1
    assert done.out == "Adopted 1 repository, skipped 0 that are mirrored already, refused 1.\n"
    assert (
        f"{file}:2: default/other was not adopted: {tmp_path}/nothing cannot be taken over (no such"
        in done.err
    )
    assert "Not adopted, and as before: 1 repository. See to each, run it again" in done.err
    again = manage("mirror", "adopt-list", file)
    assert again.out == "Adopted 0 repositories, skipped 1 that are mirrored already, refused 1.\n"


@pytest.mark.parametrize("minutes", ["-1", "soon", "nan", "999999"])
def test_a_time_to_spread_over_that_makes_no_sense_is_refused(manage, minutes):
    with pytest.raises(CommandError, match="is no number of minutes up to 30 days"):
        manage("mirror", "adopt-list", "list", f"--over={minutes}")
