"""What the database itself refuses, whoever writes."""

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from mirroring.models import Group, GroupToken, ImportAttempt, ImportState, Mirror, SchedulingSettings
from mirroring.models.group import PATH_SEGMENT
from tests.making import LEASE, MINUTE, NOW

UNTIL = NOW + LEASE


def update(mirror, **fields):
    ImportState.objects.filter(pk=mirror.pk).update(**fields)


def test_a_row_that_nothing_would_ever_take_up_again_is_refused(make_mirror):
    mirror = make_mirror()

    with pytest.raises(IntegrityError, match="importstate_never_stuck"):
        update(mirror, import_due_at=None)


@pytest.mark.parametrize(
    "fields",
    [{"active": False}, {"hard_failed": True}, {"claim_expires_at": UNTIL}],
    ids=["paused", "hard-failed", "claimed"],
)
def test_a_row_may_lack_a_due_time_when_somebody_has_it(make_mirror, fields):
    update(make_mirror(), import_due_at=None, **fields)


def test_a_row_that_is_claimed_and_due_at_once_is_refused(make_mirror):
    mirror = make_mirror()

    with pytest.raises(IntegrityError, match="importstate_claimed_is_not_due"):
        update(mirror, claim_expires_at=UNTIL)


@pytest.mark.parametrize("status", ["scheduled", "started"])
def test_a_row_in_flight_without_a_claim_is_refused(make_mirror, status):
    mirror = make_mirror()

    with pytest.raises(IntegrityError, match="importstate_in_flight_is_claimed"):
        update(mirror, status=status)


def test_an_epoch_has_one_attempt(make_mirror):
    mirror = make_mirror()
    ImportAttempt.objects.create(mirror=mirror, epoch=1, worker="w", started_at=NOW)

    with pytest.raises(IntegrityError):
        ImportAttempt.objects.create(mirror=mirror, epoch=1, worker="w", started_at=NOW)


def test_a_path_names_one_kept_mirror_and_any_number_of_removed_ones(make_mirror):
    make_mirror("same", mirror={"deleted_at": NOW})
    make_mirror("same", mirror={"deleted_at": NOW})
    kept = make_mirror("same")

    assert Mirror.objects.named("default/same").get() == kept
    assert list(Mirror.objects.kept()) == [kept]
    with pytest.raises(IntegrityError):
        make_mirror("same")


@pytest.mark.parametrize(
    ("selection", "patterns", "refspecs"),
    [
        ("default", [], ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]),
        ("all", [], ["+refs/*:refs/*"]),
        ("patterns", ["refs/heads/release/*"], ["+refs/heads/release/*:refs/heads/release/*"]),
    ],
)
def test_a_selection_has_its_refspecs(selection, patterns, refspecs):
    assert Mirror(ref_selection=selection, ref_patterns=patterns).refspecs == refspecs


def test_a_repository_lies_under_an_opaque_id_and_not_under_its_name(make_mirror, settings):
    mirror = make_mirror("secret-project")

    path = mirror.repository.relative_to(settings.REPOSITORIES_DIR)

    assert (
        str(path) == f"{mirror.storage_id.hex[:2]}/{mirror.storage_id.hex[2:4]}/{mirror.storage_id.hex}.git"
    )


@pytest.mark.parametrize("name", ["a", "A.b-c_9", "_x", "x" * 200])
def test_a_name_that_is_safe_in_paths_and_urls_is_accepted(name):
    PATH_SEGMENT(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "-x", "a/b", "a b", "x.git", "é", "a\n", "x" * 201])
def test_a_name_that_is_not_is_refused(name):
    with pytest.raises(ValidationError):
        PATH_SEGMENT(name)


@pytest.mark.django_db
def test_a_token_opens_its_own_group_until_it_is_revoked():
    mine, other = Group.objects.create(name="mine"), Group.objects.create(name="other")
    token, clear = GroupToken.issue(mine, "ci")

    assert mine.admits(clear)
    assert not other.admits(clear)
    assert not mine.admits(clear + "x")
    assert clear not in {token.digest, token.name}
    GroupToken.objects.filter(pk=token.pk).update(revoked_at=NOW)
    assert not mine.admits(clear)


@pytest.mark.django_db
def test_the_settings_are_one_row_with_gitlabs_defaults():
    current = SchedulingSettings.current()
    assert (current.mirror_max_capacity, current.mirror_capacity_threshold) == (100, 50)
    assert (current.cadence.min_delay, current.cadence.max_delay) == (30 * MINUTE, 300 * MINUTE)
    assert (current.cadence.jitter, current.cadence.max_retry) == (MINUTE, 14)

    SchedulingSettings(mirror_max_capacity=3).save()
    SchedulingSettings(mirror_max_capacity=4).save()

    assert SchedulingSettings.objects.count() == 1
    assert SchedulingSettings.current().mirror_max_capacity == 4


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValidationError, match="must not exceed"):
        SchedulingSettings(mirror_min_delay_seconds=10, mirror_max_delay_seconds=9).clean()
