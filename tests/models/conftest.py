from tests.making import configure, make_mirror  # noqa: F401
