"""What runs on this machine, read from /proc."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STAGED = re.compile(r"--git-dir=\S*/([0-9a-f]{32})\.git/incoming/(\d+)\Z")


@dataclass(frozen=True)
class Running:
    """One process."""

    pid: int
    parent: int
    argv: tuple[str, ...]

    @property
    def program(self) -> str:
        """Return the name of the program."""
        return Path(self.argv[0]).name if self.argv else ""

    @property
    def work(self) -> tuple[str, int] | None:
        """Return the repository and the epoch that a git process works for."""
        for word in self.argv:
            if found := STAGED.search(word):
                return found[1], int(found[2])
        return None


def running() -> Iterator[Running]:
    """Yield all processes."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")[:-1]
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        yield Running(int(folder.name), parent, tuple(word.decode(errors="replace") for word in words))


def below(pid: int) -> list[Running]:
    """Return the processes below one, parents before their children."""
    children: dict[int, list[Running]] = {}
    for process in running():
        children.setdefault(process.parent, []).append(process)
    found, ahead = [], [pid]
    while ahead:
        next_ones = children.get(ahead.pop(0), [])
        found += next_ones
        ahead += [process.pid for process in next_ones]
    return found


def of_run(*marks: str) -> list[Running]:
    """Return the git and ssh processes of the run that bears these marks in its arguments."""
    return [
        process
        for process in running()
        if any(mark in word for mark in marks for word in process.argv)
        and (
            "git" in process.program or "ssh" in process.program or process.program in ("unshare", "setpriv")
        )
    ]
