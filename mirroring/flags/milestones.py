"""The release that this checkout belongs to: flags are counted against it."""

CURRENT = "0.1"


def milestone_number(text: str) -> int:
    """Return a milestone such as 0.4 as a number that counts releases of one series; raise ValueError."""
    major, dot, minor = text.partition(".")
    if not dot:
        raise ValueError(f"{text!r} is no milestone: write MAJOR.MINOR")
    return int(major) * 1000 + int(minor)
