"""`auto_deploy status`: which environments run a build that contains a commit."""

import re
from argparse import ArgumentParser, Namespace
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from django.conf import settings

from mirroring import revision
from mirroring.chatops import configuration, environments
from mirroring.chatops.act import Act, ActFailed, Answer, Caller
from mirroring.models import Mirror
from mirroring.upstream.disk import ancestry
from mirroring.upstream.errors import GitError


class Verdict(StrEnum):
    """Whether an environment runs the commit. Unknown is never taken for absent."""

    DEPLOYED = "deployed"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Status:
    """What is known of one environment."""

    environment: str
    revision: str
    verdict: Verdict | None
    detail: str = ""

    def line(self) -> str:
        """Return it as a line."""
        parts = [
            self.environment,
            *([str(self.verdict)] if self.verdict else []),
            self.revision[:12],
            self.detail,
        ]
        return "  ".join(part for part in parts if part)


def status(wanted: str) -> list[Status]:
    """Ask every environment for its revision and, if a commit is given, the repository for the ancestry."""
    names = configuration.current().reachable
    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        asked = list(pool.map(_revision, names))
    if not wanted:
        return [
            Status(name, found, None, problem) for name, (found, problem) in zip(names, asked, strict=True)
        ]
    repository = _repository()
    full = ancestry.commit(repository, wanted)
    if full is None:
        problem = f"{wanted} is not in the repository {repository}: has it been fetched?"
        return [
            Status(name, found, Verdict.UNKNOWN, problem)
            for name, (found, _) in zip(names, asked, strict=True)
        ]
    return [_judged(name, *answer, full, repository) for name, answer in zip(names, asked, strict=True)]


def _revision(name: str) -> tuple[str, str]:
    """Return the revision of an environment, or none and what is in the way."""
    if environments.is_here(name):
        found = revision.current()
        return ("", "it does not know its revision") if found == "unknown" else (found, "")
    try:
        return environments.revision(name), ""
    except environments.EnvironmentDown as error:
        return "", str(error)


def _judged(name: str, found: str, problem: str, full: str, repository: Path) -> Status:
    if problem:
        return Status(name, found, Verdict.UNKNOWN, problem)
    running = ancestry.commit(repository, found) if _is_commit(found) else None
    if running is None:
        return Status(name, found, Verdict.UNKNOWN, "its revision is not in the repository")
    try:
        held = ancestry.contains(repository, revision=running, wanted=full)
    except GitError as error:
        return Status(name, found, Verdict.UNKNOWN, error.detail)
    return Status(name, found, Verdict.DEPLOYED if held else Verdict.ABSENT)


def _repository() -> Path:
    configured = configuration.current()
    if configured.repository_mirror:
        mirror = Mirror.objects.named(configured.repository_mirror).first()
        if mirror is None:
            raise ActFailed(
                f"There is no mirror {configured.repository_mirror}: see repository in docs/chatops.md"
            )
        return mirror.repository
    path = Path(configured.repository_path or settings.BASE_DIR)
    return path / ".git" if (path / ".git").exists() else path


def _is_commit(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{7,64}", text))


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("sha", metavar="SHA", nargs="?", default="", help="the commit to look for")


def run(options: Namespace, caller: Caller) -> Answer:
    """Say what runs where."""
    wanted = options.sha.lower()
    if wanted and not _is_commit(wanted):
        raise ActFailed(f"{options.sha!r} is no commit id: give 7 to 64 hexadecimal digits")
    found = status(wanted)
    return Answer("\n".join(one.line() for one in found), [vars(one) for one in found])


ACTS = (
    Act(("auto_deploy", "status"), "Say which environments run a commit.", run, _arguments, everywhere=True),
)
