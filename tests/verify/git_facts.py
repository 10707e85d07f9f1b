"""What git itself says about a repository: its refs, its HEAD, its soundness. Reads only."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "LANG": "C.UTF-8",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_ASKPASS": "true",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}
SELECTED = ("refs/heads/", "refs/tags/")


class Unreadable(Exception):
    """Git could not read a repository."""


@dataclass(frozen=True)
class Facts:
    """The refs of a repository by name, what HEAD names (empty: nothing) and the commit it leads to."""

    refs: dict[str, str] = field(default_factory=dict)
    head_ref: str = ""
    head: str = ""

    def selected(self) -> dict[str, str]:
        """Return branches and tags: what a mirror takes by default."""
        return {name: target for name, target in self.refs.items() if name.startswith(SELECTED)}

    def others(self) -> list[str]:
        """Return what a mirror must not have, such as refs/pull/*."""
        return sorted(name for name in self.refs if not name.startswith(SELECTED))


def read(repository: str | Path) -> Facts:
    """Read a bare repository, or a remote one if it is given by URL."""
    return _read_remote(str(repository)) if "://" in str(repository) else _read_local(Path(repository))


def differences(*, upstream: Facts, mirror: Facts) -> list[str]:
    """Name what is wrong with a mirror; an empty list means that it equals its upstream.

    A HEAD that leads nowhere (an empty repository) is compared by leading nowhere alone: the protocol
    does not tell its name.
    """
    wanted, found = upstream.selected(), mirror.selected()
    problems = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"{name} is not upstream" for name in sorted(found.keys() - wanted.keys())]
    problems += [
        f"{name} differs" for name in sorted(wanted.keys() & found.keys()) if wanted[name] != found[name]
    ]
    problems += [f"{name} should not be there" for name in mirror.others()]
    if mirror.head != upstream.head:
        problems.append(
            f"HEAD is {mirror.head[:10] or 'nothing'}, upstream {upstream.head[:10] or 'nothing'}"
        )
    elif upstream.head and mirror.head_ref != upstream.head_ref:
        problems.append(
            f"HEAD names {mirror.head_ref or 'a commit'}, upstream {upstream.head_ref or 'a commit'}"
        )
    return problems


def broken_objects(repository: str | Path) -> str:
    """Return what `git fsck` complains about: missing or broken objects; empty if all is well."""
    done = _git(f"--git-dir={repository}", "fsck", "--connectivity-only", "--no-dangling", "--no-progress")
    return "" if done.returncode == 0 else (done.stderr or done.stdout or "fsck failed").strip()


def _read_local(path: Path) -> Facts:
    if not (path / "HEAD").exists():
        raise Unreadable(f"{path} is not a bare repository")
    listed = _git(f"--git-dir={path}", "for-each-ref", "--format=%(objectname) %(refname)")
    if listed.returncode:
        raise Unreadable(f"{path}: {listed.stderr.strip()}")
    refs = {name: target for target, _, name in (line.partition(" ") for line in listed.stdout.splitlines())}
    head_ref = _git(f"--git-dir={path}", "symbolic-ref", "--quiet", "HEAD").stdout.strip()
    head = _git(f"--git-dir={path}", "rev-parse", "--quiet", "--verify", "HEAD").stdout.strip()
    return Facts(refs=refs, head_ref=head_ref, head=head)


def _read_remote(url: str) -> Facts:
    try:
        listed = _git("ls-remote", "--symref", "--", url)
    except subprocess.TimeoutExpired:
        raise Unreadable(f"{url}: no answer") from None
    if listed.returncode:
        raise Unreadable(f"{url}: {listed.stderr.strip()}")
    refs: dict[str, str] = {}
    head_ref = ""
    for line in listed.stdout.splitlines():
        target, _, name = line.partition("\t")
        if target.startswith("ref: ") and name == "HEAD":
            head_ref = target.removeprefix("ref: ")
        elif not name.endswith("^{}"):
            refs[name] = target
    return Facts(head=refs.pop("HEAD", ""), refs=refs, head_ref=head_ref)


def _git(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments],
        check=False,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=timeout,
    )
