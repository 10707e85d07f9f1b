from tests.making import lost_tracker, new_tracker, tracker  # noqa: F401
