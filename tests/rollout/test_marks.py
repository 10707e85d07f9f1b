"""What is marked to go with a flag goes, whole, and leaves a file as if it had never been there."""

import subprocess
import sys

import pytest

from mirroring.rollout.marks import without

CODE = '''"""A module."""

import os
import re  # goes with trial_first

POSITIONS = [
    1,  # goes with trial_first
    2,
]


@os.fspath
def legacy():  # goes with trial_first
    """Wait."""
    return re


def stays(a):
    before = a

    if a:  # goes with trial_first
        before = re.match(
            "a", "b"
        )

    return before


# Why it was so.
# This goes with trial_first.
class Old:
    x = 1
'''
TWO = """a = 1


def b():  # goes with trial_first
    x = 1

    y = 2


# This goes with trial_first.
def c():
    pass


def d():
    pass
"""
LEFT = '''"""A module."""

import os

POSITIONS = [
    2,
]


def stays(a):
    before = a

    return before
'''


def test_marked_lines_and_statements_go_and_the_rest_stays_as_it_was():
    assert without(CODE, "trial_first", python=True) == LEFT


def test_another_flag_s_marks_change_nothing():
    assert without(CODE, "trial", python=True) == CODE


def test_a_file_whose_first_line_is_marked_goes():
    assert without("# This goes with trial_first.\n\nx = 1\n", "trial_first", python=True) is None


def test_lines_of_a_table_go_alone():
    text = "| a | b |\n| c | <!-- goes with trial_first --> |\n| d | e |\n"

    assert without(text, "trial_first", python=False) == "| a | b |\n| d | e |\n"


def test_a_numbered_row_keeps_its_place():
    text = "| 1 | it waits | `test` <!-- goes with trial_first --> |\n"

    assert (
        without(text, "trial_first", python=False)
        == "| 1 | it waits | does not apply, because its flag is gone |\n"
    )


@pytest.mark.parametrize(
    "text", [CODE, "if 1:\n    a = 1\n\n    b = 2  # goes with trial_first\n\nc = 3\n", TWO]
)
def test_what_is_left_is_formatted_as_it_should_be(text):
    left = without(text, "trial_first", python=True)

    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--diff", "-"], input=left, text=True, capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, "")
