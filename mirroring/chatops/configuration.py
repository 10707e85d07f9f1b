"""The file that MIRRORING_CHATOPS names: the deployments, who may do what, and where commits are looked up."""

import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

KNOWN = ("dev", "staging", "canary", "production")
ROLES = ("none", "viewer", "operator")


class BadConfiguration(ImproperlyConfigured):
    """The file is wrong; the text says where and what belongs there."""


@dataclass(frozen=True)
class Deployment:
    """Another deployment of this service, and the token that opens its API. It is never shown."""

    name: str
    url: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class Slack:
    """Who may do what from Slack. By ids: names there can be changed by those who bear them."""

    production_channel: str = ""
    support_channel: str = ""
    channels: frozenset[str] = frozenset()
    users: dict[str, str] = field(default_factory=dict)
    everyone: str = "none"


@dataclass(frozen=True)
class Configuration:
    """Everything the file says."""

    environments: dict[str, Deployment] = field(default_factory=dict)
    slack: Slack = field(default_factory=Slack)
    repository_path: str = ""
    repository_mirror: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the environments that can be named, in the order of a rollout."""
        extra = {settings.ENVIRONMENT, *self.environments} - {*KNOWN}
        return (*KNOWN, *sorted(extra))

    @property
    def reachable(self) -> tuple[str, ...]:
        """Return the environments that there are: those of the file, and this one."""
        return tuple(name for name in self.names if name in {settings.ENVIRONMENT, *self.environments})


def current() -> Configuration:
    """Return the configuration; an empty one where no file is named."""
    return _read(settings.CHATOPS_FILE) if settings.CHATOPS_FILE else Configuration()


@cache
def _read(path: str) -> Configuration:
    try:
        body = yaml.safe_load(Path(path).read_text()) or {}
        return _configuration(body)
    except (OSError, yaml.YAMLError) as error:
        raise BadConfiguration(f"MIRRORING_CHATOPS: {path} cannot be read: {error}") from None
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise BadConfiguration(f"MIRRORING_CHATOPS: {path}: {error}; see docs/chatops.md") from None


def _configuration(body: dict[str, Any]) -> Configuration:
    _only(body, {"environments", "slack", "repository"}, "the file")
    repository = body.get("repository", {})
    _only(repository, {"path", "mirror"}, "repository")
    named = body.get("environments", {}).items()
    return Configuration(
        environments={name: _deployment(name, entry) for name, entry in named},
        slack=_slack(body.get("slack", {})),
        repository_path=repository.get("path", ""),
        repository_mirror=repository.get("mirror", ""),
    )


def _deployment(name: str, entry: dict[str, Any]) -> Deployment:
    _only(entry, {"url", "token_file", "token_env"}, f"environments: {name}")
    url = str(entry["url"]).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"environments: {name}: the url {url!r} starts with neither http:// nor https://")
    if "token_file" in entry:
        return Deployment(name, url, Path(entry["token_file"]).read_text().strip())
    return Deployment(name, url, os.environ[entry["token_env"]])


def _slack(entry: dict[str, Any]) -> Slack:
    _only(entry, {"production_channel", "support_channel", "channels", "users", "everyone"}, "slack")
    users = {str(user): str(role) for user, role in entry.get("users", {}).items()}
    everyone = str(entry.get("everyone", "none"))
    if strange := {*users.values(), everyone} - {*ROLES}:
        raise ValueError(f"slack: {', '.join(strange)} is no role: choose of {', '.join(ROLES)}")
    channels = frozenset(map(str, entry.get("channels", [])))
    return Slack(
        production_channel=str(entry.get("production_channel", "")),
        support_channel=str(entry.get("support_channel", "")),
        channels=channels,
        users=users,
        everyone=everyone,
    )


def _only(entry: dict[str, Any], known: set[str], where: str) -> None:
    if strange := sorted(entry.keys() - known):
        raise ValueError(f"{where}: no such field: {', '.join(strange)}")
