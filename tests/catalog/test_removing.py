from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings

from mirroring import catalog
from mirroring.catalog.errors import NameTaken, NotNow
from mirroring.catalog.removing import _purge
from mirroring.models import Group, ImportAttempt, ImportState, Mirror
from tests.catalog.samples import LATER, LEASE, NOW, hard_failed, imported, in_flight, made, nobody, state

pytestmark = pytest.mark.django_db
ENOUGH = NOW + catalog.KEEP_REMOVED
TOO_EARLY = ENOUGH - timedelta(seconds=1)


@pytest.fixture(autouse=True)
def storage(settings, tmp_path) -> None:
    settings.REPOSITORIES_DIR = tmp_path / "repositories"


def with_repository(mirror: Mirror) -> Mirror:
    mirror.repository.mkdir(parents=True)
    (mirror.repository / "HEAD").write_text("ref: refs/heads/main\n")
    return mirror


def leftovers() -> list[Path]:
    return [path for path in Path(settings.REPOSITORIES_DIR).rglob("*") if path.is_file()]


def test_a_removed_mirror_is_not_due_and_keeps_its_rows_and_repository():
    mirror = with_repository(made())

    removed = catalog.remove(mirror, now=NOW)

    assert (removed.deleted_at, removed.state.active, removed.state.import_due_at) == (NOW, False, None)
    assert catalog.purge_removed(now=TOO_EARLY, limit=10) == 0
    assert mirror.repository.exists()


def test_a_mirror_is_removed_once():
    mirror = catalog.remove(made(), now=NOW)

    with pytest.raises(NotNow, match="already removed"):
        catalog.remove(mirror, now=LATER)

    assert Mirror.objects.get(pk=mirror.pk).deleted_at == NOW


def test_a_restored_mirror_is_due_when_it_would_have_been(django_capture_on_commit_callbacks):
    mirror = imported(made(), next_at=LATER)
    catalog.remove(mirror, now=NOW)
    woken = []

    with django_capture_on_commit_callbacks(execute=True):
        restored = catalog.restore(mirror, now=TOO_EARLY, wake=lambda: woken.append("now"))

    assert restored.deleted_at is None
    assert (restored.state.active, restored.state.import_due_at, woken) == (True, LATER, ["now"])


def test_a_paused_mirror_is_restored_paused():
    mirror = catalog.remove(catalog.pause(made(), now=NOW), now=NOW)

    restored = catalog.restore(mirror, now=LATER, wake=nobody)

    assert (restored.state.active, restored.state.import_due_at) == (False, None)


def test_a_hard_failed_mirror_is_restored_as_such():
    mirror = catalog.remove(hard_failed(made()), now=NOW)

    assert catalog.restore(mirror, now=LATER, wake=nobody).state.hard_failed
    assert state(mirror).import_due_at is None


def test_a_mirror_whose_name_was_taken_meanwhile_is_restored_under_another():
    mirror = catalog.remove(made(), now=NOW)
    made()

    with pytest.raises(NameTaken, match="default/project is taken by now"):
        catalog.restore(mirror, now=LATER, wake=nobody)
    assert Mirror.objects.get(pk=mirror.pk).deleted_at == NOW

    assert catalog.restore(mirror, now=LATER, wake=nobody, name="again").path == "default/again"


def test_a_mirror_is_not_restored_once_its_time_is_over():
    mirror = catalog.remove(made(), now=NOW)

    with pytest.raises(NotNow, match="7 days"):
        catalog.restore(mirror, now=ENOUGH, wake=nobody)


def test_a_kept_mirror_is_not_restored():
    with pytest.raises(NotNow):
        catalog.restore(made(), now=NOW, wake=nobody)


def test_purging_takes_rows_history_and_repository_and_nothing_else():
    kept = with_repository(made(name="kept"))
    gone = with_repository(made(name="gone"))
    ImportAttempt.objects.create(mirror=gone, epoch=1, worker="w", started_at=NOW)
    catalog.remove(gone, now=NOW)

    assert catalog.purge_removed(now=ENOUGH, limit=10) == 1

    assert list(Mirror.objects.all()) == [kept]
    assert ImportState.objects.get().mirror_id == kept.pk
    assert not ImportAttempt.objects.exists()
    assert leftovers() == [kept.repository / "HEAD"]


def test_purging_stops_at_its_limit_and_takes_the_oldest_first():
    mirrors = [made(name=f"m{number}") for number in range(3)]
    for hours, mirror in zip((2, 0, 1), mirrors, strict=True):
        catalog.remove(mirror, now=NOW + timedelta(hours=hours))

    assert catalog.purge_removed(now=ENOUGH + timedelta(days=1), limit=2) == 2

    assert list(Mirror.objects.all()) == [mirrors[0]]


def test_a_mirror_whose_import_was_not_yet_brought_to_rest_is_not_purged():
    mirror = with_repository(made())
    in_flight(mirror)
    catalog.remove(mirror, now=NOW)

    assert catalog.purge_removed(now=ENOUGH + LEASE, limit=10) == 0
    assert mirror.repository.exists()


def test_a_mirror_that_was_restored_since_it_was_chosen_is_not_purged():
    chosen = with_repository(catalog.remove(made(), now=NOW))
    catalog.restore(chosen, now=TOO_EARLY, wake=nobody)

    assert _purge(chosen) is False
    assert chosen.repository.exists()


def test_purging_goes_on_where_a_kill_stopped_it():
    """Rows gone, repository in the trash: so it is after a kill between the commit and the deletion."""
    trash = Path(settings.REPOSITORIES_DIR) / ".purged" / "left"
    trash.mkdir(parents=True)
    (trash / "HEAD").write_text("x")

    assert catalog.purge_removed(now=NOW, limit=10) == 0

    assert leftovers() == []


def test_purging_a_mirror_that_was_never_imported_is_no_error():
    catalog.remove(made(), now=NOW)

    assert catalog.purge_removed(now=ENOUGH, limit=10) == 1


def test_a_group_can_be_removed_once_its_removed_mirrors_are_purged():
    catalog.remove(made(), now=NOW)
    catalog.purge_removed(now=ENOUGH, limit=10)

    catalog.remove_group(catalog.find_group("default"))

    assert not Group.objects.exists()
