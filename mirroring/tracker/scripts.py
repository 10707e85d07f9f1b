"""How the tracker speaks to Redis: its scripts, the keys they are handed, and what becomes of errors."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import redis

from mirroring.tracker.round_trips import ROUND_TRIPS, TRACKER
from mirroring.tracker.values import TrackerDown

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Scripts")

LUA = Path(__file__).parent / "lua"
TAG = "{mirroring}"


def instant(since_1970: float) -> datetime:
    """Return the time that so many milliseconds mean."""
    return datetime.fromtimestamp(since_1970 / 1000, tz=UTC)


def milliseconds(span: timedelta) -> int:
    """Return a span in the unit of the scripts."""
    return int(span / timedelta(milliseconds=1))


def speaks(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Turn the errors of the client into TrackerDown, and count what is sent as the tracker's."""

    @wraps(method)
    def speaking(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with ROUND_TRIPS.of(TRACKER):
                return method(self, *args, **kwargs)
        except redis.RedisError as error:
            raise TrackerDown(f"Redis: {type(error).__name__}: {error}") from error

    return speaking  # type: ignore[return-value]  # functools.wraps hides that `self` is positional.


class Scripts:
    """A client and the scripts in `lua/`, by the names of their files."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self.use_scripts((LUA / "prelude.lua").read_text())

    def use_scripts(self, prelude: str) -> None:
        """Put a prelude before every verb: the product's own, or one that is told the time."""
        self._verbs = {
            path.stem: self._client.register_script(f"{prelude}\n{path.read_text()}")
            for path in LUA.glob("*.lua")
            if path.stem != "prelude"
        }

    def _call(self, verb: str, keys: Sequence[str], *args: object) -> Any:
        return self._verbs[verb](keys=[f"{TAG}:{key}" for key in keys], args=list(args))  # type: ignore[arg-type]
