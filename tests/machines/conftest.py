from tests.making import configure, new_tracker, repositories_folder  # noqa: F401
