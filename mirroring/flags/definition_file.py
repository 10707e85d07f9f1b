"""Reading the file of a flag: every field is there, in form, and nothing else is."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from django.core.exceptions import ImproperlyConfigured

from mirroring.flags.definition import (
    MAX_LIFE,
    METRICS,
    ActorKind,
    Definition,
    Direction,
    Effect,
    EffectKind,
    FlagType,
    Owner,
    Requirement,
)
from mirroring.flags.milestones import milestone_number


class BadDefinition(ImproperlyConfigured):
    """A definition is wrong; the text names the file, the field and what belongs there."""


def read(path: Path) -> Definition:
    """Read and check one file; raise BadDefinition."""
    try:
        body = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise BadDefinition(f"{path}: cannot be read: {error}") from None
    if not isinstance(body, dict):
        raise BadDefinition(f"{path}: write the fields of a flag, one to a line")
    definition = _Fields(path, body).definition()
    if definition.name != path.stem:
        raise BadDefinition(f"{path}: the name is {definition.name!r}: call the file {definition.name}.yml")
    _check_life(path, definition)
    return definition


def _check_life(path: Path, definition: Definition) -> None:
    limit = MAX_LIFE[definition.type]
    life = milestone_number(definition.intended_end) - milestone_number(definition.milestone)
    if life < 0:
        raise BadDefinition(f"{path}: intended_end comes before milestone")
    if limit is not None and life > limit:
        raise BadDefinition(
            f"{path}: a flag of type {definition.type} lives {limit} milestones at most, and from "
            f"{definition.milestone} to {definition.intended_end} are {life}: end it earlier or choose another type"
        )


_NAME = re.compile(r"[a-z][a-z0-9_]{2,99}\Z")
_DURATION = re.compile(r"(\d+)([smhd])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def duration(text: str) -> timedelta:
    """Read a duration such as 90s, 15m, 2h or 1d; raise ValueError."""
    found = _DURATION.match(text)
    if not found:
        raise ValueError(f"{text!r} is no duration: write a number and s, m, h or d, as in 15m")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


class _Fields:
    """The fields of one file, each taken once; what is left over at the end is an error."""

    def __init__(self, path: Path, body: dict[str, Any], within: str = "") -> None:
        self._path, self._body, self._within = path, dict(body), within

    def definition(self) -> Definition:
        made = Definition(
            name=self._take("name", _name),
            description=" ".join(self.text("description").split()),
            type=self._take("type", FlagType),
            owner=self._owner(),
            introduced_by=self.text("introduced_by"),
            milestone=self._take("milestone", _milestone),
            rollout_issue=self.text("rollout_issue"),
            default=self._take("default", _boolean),
            actor=self._take("actor", ActorKind),
            requires=self._requires(),
            effects=tuple(self._effect(entry) for entry in self._take("effects", _list)),
            cleanup_hook=self._take("cleanup_hook", _optional_name),
            intended_end=self._take("intended_end", _milestone),
        )
        self.done()
        return made

    def _owner(self) -> Owner:
        fields = self.below("owner")
        owner = Owner(fields.text("team"), fields.text("contact"), fields.text("channel"))
        fields.done()
        return owner

    def _requires(self) -> Requirement | None:
        if self._body.get("requires", "absent") is None:
            return self._body.pop("requires")  # type: ignore[no-any-return]
        fields = self.below("requires")
        required = Requirement(fields._take("flag", _name), fields._take("stable_for", duration))
        fields.done()
        return required

    def _effect(self, entry: Any) -> Effect:
        fields = _Fields(self._path, _mapping(entry), "effects: ")
        effect = Effect(
            metric=fields._take("metric", _metric),
            direction=fields._take("direction", Direction),
            bound=fields._take("bound", float),
            kind=fields._take("kind", EffectKind),
        )
        fields.done()
        return effect

    def below(self, name: str) -> "_Fields":
        return _Fields(self._path, self._take(name, _mapping), f"{name}: ")

    def text(self, name: str) -> str:
        return str(self._take(name, _text))

    def _take(self, name: str, read: Callable[[Any], Any]) -> Any:
        if name not in self._body:
            raise BadDefinition(f"{self._path}: {self._within}the field {name} is missing")
        try:
            return read(self._body.pop(name))
        except (ValueError, TypeError) as error:
            raise BadDefinition(f"{self._path}: {self._within}{name}: {error}") from None

    def done(self) -> None:
        if self._body:
            unknown = ", ".join(sorted(map(str, self._body)))
            raise BadDefinition(f"{self._path}: {self._within}no such field: {unknown}")


def _name(value: Any) -> str:
    if not _NAME.match(str(value)):
        raise ValueError(f"{value!r} is no name: small letters, digits and underscores")
    return str(value)


def _optional_name(value: Any) -> str | None:
    return None if value is None else _name(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("write a text")
    return value.strip()


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("write true or false")
    return value


def _milestone(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError('write it in quotes, as in "0.1"')
    milestone_number(value)
    return value


def _metric(value: Any) -> str:
    if value not in METRICS:
        raise ValueError(f"{value!r} is not sampled: choose of {', '.join(sorted(METRICS))}")
    return str(value)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("write fields below it")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("write a list; [] if there is none")
    return value
