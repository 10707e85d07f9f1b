from tests.making import lost_tracker, make_mirror, new_tracker, tracker  # noqa: F401
