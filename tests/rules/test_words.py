import pytest

from mirroring.rules.words import counted


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (1, "mirror", "1 mirror"),
        (0, "mirror", "0 mirrors"),
        (2, "entry", "2 entries"),
        (1, "entry", "1 entry"),
        (2, "key", "2 keys"),
    ],
)
def test_what_is_counted_is_told_in_its_number(number, noun, words):
    assert counted(number, noun) == words
