"""What killed workers left on this machine: git processes that work for nobody, and staged work of old epochs."""

import logging
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from django.conf import settings

from mirroring.models import ImportState
from mirroring.rules.states import IN_FLIGHT
from mirroring.upstream.git.process import kill_group

logger = logging.getLogger(__name__)

_STAGED = re.compile(r"--git-dir=(?P<root>/.*)/(?P<storage>[0-9a-f]{32})\.git/incoming/(?P<epoch>\d+)\Z")


@dataclass(frozen=True)
class Worker:
    """A git process that works on one staged update."""

    pid: int
    storage_id: UUID
    epoch: int


def kill_orphans() -> int:
    """Kill the git process groups on this machine whose import no longer stands, and return how many there were."""
    running = list(_running())
    if not running:
        return 0
    standing = set(
        ImportState.objects.filter(
            status__in=IN_FLIGHT, mirror__storage_id__in={git.storage_id for git in running}
        )
        .values_list("mirror__storage_id", "epoch")
        .distinct()
    )
    orphans = [git for git in running if (git.storage_id, git.epoch) not in standing]
    for git in orphans:
        logger.warning("orphan git process killed", extra={"pid": git.pid, "epoch": git.epoch})
        _kill(git)
    return len(orphans)


def _running() -> Iterator[Worker]:
    root = str(settings.REPOSITORIES_DIR)
    for folder in Path("/proc").iterdir() if Path("/proc").exists() else ():
        if folder.name.isdigit() and (git := _staged_work(folder, root)):
            yield git


def _staged_work(folder: Path, root: str) -> Worker | None:
    try:
        arguments = (folder / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    for argument in arguments:
        found = _STAGED.match(argument.decode(errors="replace"))
        if found and found["root"].startswith(f"{root}/"):
            return Worker(pid=int(folder.name), storage_id=UUID(found["storage"]), epoch=int(found["epoch"]))
    return None


def _kill(git: Worker) -> None:
    try:
        group = os.getpgid(git.pid)
    except ProcessLookupError:
        return
    if group != os.getpgrp():  # Every git has a group of its own; ours is never meant.
        kill_group(group, signal.SIGKILL)
