from collections.abc import Callable

import pytest

from tests.flags import samples
from tests.making import configure, lost_tracker, new_tracker, repositories_folder, tracker  # noqa: F401


@pytest.fixture
def define(settings, tmp_path) -> Callable[..., str]:
    """Return a function that defines a flag for this test; keywords set fields of its file."""
    from mirroring.flags import registry

    settings.EXTRA_FLAG_DEFINITIONS += (str(tmp_path),)

    def write(name: str, **fields: object) -> str:
        samples.write(tmp_path, name, **fields)
        registry._read.cache_clear()
        return name

    return write


@pytest.fixture
def turn() -> Callable[..., object]:
    """Return a function that changes a flag as the command line does, past no gate unless told."""
    from mirroring.flags.changes import Origin, change_flag
    from mirroring.flags.moves import Change

    def change(name, on=None, *, overrides=(), why="", by="ada", **asked):
        return change_flag(
            name, Change(on=on, **asked), by=by, origin=Origin.CLI, why=why, overrides=frozenset(overrides)
        )

    return change
