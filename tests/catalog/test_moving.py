"""An upstream that redirects for good: three imports in a row make a proposal, and a person decides."""

from datetime import timedelta

import pytest

from mirroring.catalog.errors import NotNow
from tests.making import NOW, build_mirror, state_of

TO = "https://git.example.org/team/renamed.git"
TICK = timedelta(minutes=1)


@pytest.fixture
def mirror(db):
    return build_mirror()


@pytest.fixture
def imported(mirror):
    """Return a function that lets an import succeed, redirected or not, a minute after the one before."""
    from mirroring.models import ImportState, Relocation

    at = [NOW]

    def go(to=TO):
        at[0] += TICK
        if to:
            last = state_of(mirror).last_successful_update_at
            Relocation.objects.note(mirror, to_url=to, last_success=last, now=at[0])
        ImportState.objects.filter(pk=mirror.pk).update(last_successful_update_at=at[0])
        mirror.refresh_from_db()
        return at[0]

    return go


def proposed(mirror):
    from mirroring import catalog

    mirror.refresh_from_db()
    found = catalog.proposal(mirror)
    return found and found.to_url


def test_three_imports_in_a_row_make_a_proposal(mirror, imported):
    imported(), imported()
    assert proposed(mirror) is None
    imported()
    assert proposed(mirror) == TO


def test_an_import_without_the_redirect_withdraws_it(mirror, imported):
    imported(), imported(), imported()
    imported(to="")
    assert proposed(mirror) is None
    imported(), imported()
    assert proposed(mirror) is None
    imported()
    assert proposed(mirror) == TO


def test_another_place_is_another_proposal(mirror, imported):
    imported(), imported()
    imported(to=f"{TO}x")
    assert proposed(mirror) is None


def test_accepting_changes_the_url_imports_it_now_and_is_on_record(mirror, imported):
    from mirroring import catalog
    from mirroring.models import Relocation

    imported(), imported()
    now, old, woken = imported(), mirror.url, []
    moved = catalog.accept_move(mirror, now=now, wake=lambda: woken.append(1), by="ada")

    assert (moved.url, moved.host.name) == (TO, "git.example.org")
    assert state_of(mirror).import_due_at <= now
    row = Relocation.objects.get()
    assert (row.from_url, row.to_url, row.decision, row.decided_by, row.decided_at) == (
        (old, TO, "accepted", "ada", now)
    )
    assert proposed(moved) is None


def test_what_was_declined_is_not_proposed_again(mirror, imported):
    from mirroring import catalog
    from mirroring.models import Relocation

    imported(), imported()
    now = imported()
    kept = catalog.decline_move(mirror, now=now, by="ada")
    imported(), imported(), imported()

    assert kept.url == mirror.url
    assert proposed(mirror) is None
    assert Relocation.objects.get().decision == "declined"


def test_without_a_proposal_there_is_nothing_to_decide(mirror, imported):
    from mirroring import catalog

    imported()
    with pytest.raises(NotNow, match="no move to decide about"):
        catalog.accept_move(mirror, now=NOW, wake=lambda: None, by="ada")


def test_of_a_proposal_for_an_earlier_url_nothing_is_left(mirror, imported):
    from mirroring.models import Mirror

    imported(), imported(), imported()
    Mirror.objects.filter(pk=mirror.pk).update(url="https://git.example.org/team/other.git")
    assert proposed(mirror) is None
