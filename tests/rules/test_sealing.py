"""Sealing: what opens a sealed text, and what does not."""

import pytest

from mirroring.rules import sealing
from mirroring.rules.sealing import BadKey, CannotOpen

OLD, NEW = (sealing.read_key(sealing.new_key()) for _ in range(2))


def test_a_sealed_text_opens_by_its_key_wherever_that_stands_in_the_list():
    sealed = sealing.seal("hunter2", keys=[OLD], context="row")

    assert sealing.unseal(sealed, keys=[NEW, OLD], context="row") == "hunter2"
    assert sealing.key_of(sealed) == sealing.key_id(OLD)


def test_a_sealed_text_shows_nothing_and_is_another_each_time():
    sealed = {sealing.seal("hunter2", keys=[OLD], context="row") for _ in range(20)}

    assert len(sealed) == 20
    assert not [text for text in sealed if "hunter" in text]


def test_a_sealed_text_of_another_row_does_not_open():
    sealed = sealing.seal("hunter2", keys=[OLD], context="row 1")

    with pytest.raises(CannotOpen, match="belongs to another row"):
        sealing.unseal(sealed, keys=[OLD], context="row 2")


def test_a_sealed_text_without_its_key_does_not_open():
    sealed = sealing.seal("hunter2", keys=[OLD], context="row")

    with pytest.raises(CannotOpen, match=f"the key {sealing.key_id(OLD)} .* is not in the list"):
        sealing.unseal(sealed, keys=[NEW], context="row")


@pytest.mark.parametrize("at", [-3, -12, 17, 20])
def test_a_sealed_text_that_was_changed_does_not_open(at):
    sealed = sealing.seal("hunter2", keys=[OLD], context="row")
    changed = list(sealed)
    changed[at] = "A" if changed[at] != "A" else "B"

    with pytest.raises(CannotOpen):
        sealing.unseal("".join(changed), keys=[OLD], context="row")


@pytest.mark.parametrize("text", ["", "short", "ä" * 43, "A" * 42, "A" * 64])
def test_what_is_no_key_is_refused_with_the_way_to_make_one(text):
    with pytest.raises(BadKey, match="new-key"):
        sealing.read_key(text)


@pytest.mark.parametrize("text", ["", "v1", "v1.x", "v2.a.b", "plain"])
def test_what_was_never_sealed_does_not_open(text):
    with pytest.raises(CannotOpen):
        sealing.unseal(text, keys=[OLD], context="row")
