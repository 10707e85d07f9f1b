"""State machines: rows, tracker and repository under every order of events that Hypothesis can think of."""

import os

SAME_EACH_TIME = bool(os.environ.get("CI"))
"""The long forms look for new orders of events wherever a person can look at what they find; CI repeats the same."""
