"""Two flags that exist in tests only: what is tested of flags does not hang on those that the product has just now."""

from pathlib import Path

FOLDER = Path(__file__).parent / "definitions"
FIRST, SECOND = "trial_first", "trial_second"
"""The second requires the first, on and stable for a day."""
