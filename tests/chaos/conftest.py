from tests.making import new_tracker  # noqa: F401
