"""System checks: run by `manage.py check`, by the start of the stack and by each Celery worker."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register

from mirroring.chatops import configuration
from mirroring.flags import usage
from mirroring.upstream.git import git_version


@register()
def flags_are_defined_and_used(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Find flags without definition, definitions without use, and circles of requirements."""
    return [Error(text, id="mirroring.E001") for text in (*usage.faults(), *usage.requirements())]


@register()
def the_chatops_file_is_good(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Read the file of environments, roles and channels, before somebody needs it."""
    try:
        configuration.current()
    except configuration.BadConfiguration as error:
        return [Error(str(error), id="mirroring.E002")]
    return []


@register()
def git_is_new_enough(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Warn of a git that cannot do all that protects us; it may serve clones all the same."""
    said = git_version.complaint()
    return [Warning(said, id="mirroring.W001")] if said else []
