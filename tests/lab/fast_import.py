"""A `git fast-import` stream, written piece by piece, and the bare repository that it is fed into."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

# Wednesday, 1 January 2020: the history of the lab starts here, so that object ids depend on the seed alone.
EPOCH = 1_577_836_800

ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "LANG": "C.UTF-8",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    # Repositories of a list may belong to another user; reading them is what was asked for.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}

AUTHORS = ("Ada Lovelace <ada@lab.example>", "José Müller <jose@lab.example>", "王小明 <wang@lab.example>")
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty", "knoll")


class Stream:
    """Commits, tags and refs of one repository, in the order in which they are to be made."""

    def __init__(self, rng: Random, *, start: int = EPOCH) -> None:
        self.rng = rng
        self._parts: list[bytes] = []
        self._marks = 0
        self._when = start

    def commit(self, ref: str, *, files: Mapping[str, str | bytes], parents: Sequence[int | str] = ()) -> int:
        """Add a commit on `ref` and return its mark; parents are marks or names of existing commits."""
        self._marks += 1
        message = f"{self.rng.choice(WORDS).title()} the {self.rng.choice(WORDS)} #{self._marks}\n"
        self._line(f"commit {ref}", f"mark :{self._marks}")
        self._line(f"author {self._signature()}", f"committer {self._signature()}")
        self._data(message.encode())
        for position, parent in enumerate(parents):
            self._line(f"{'merge' if position else 'from'} {_name(parent)}")
        for path, content in files.items():
            self._line(f"M 100644 inline {path}")
            self._data(content if isinstance(content, bytes) else content.encode())
        self._line("")
        return self._marks

    def point(self, ref: str, commit: int | str) -> None:
        """Let a branch, a light tag or any other ref point at a commit."""
        self._line(f"reset {ref}", f"from {_name(commit)}", "")

    def tag(self, name: str, commit: int | str) -> None:
        """Add an annotated tag."""
        self._line(f"tag {name}", f"from {_name(commit)}", f"tagger {self._signature()}")
        self._data(f"Release {name}\n".encode())

    def text(self, *, size: int = 200) -> str:
        """Return a text of about this many characters."""
        return "\n".join(" ".join(self.rng.choices(WORDS, k=8)) for _ in range(size // 50 + 1)) + "\n"

    def content(self) -> bytes:
        """Return the whole stream, ready for `git fast-import`."""
        return b"".join([*self._parts, b"done\n"])

    def _signature(self) -> str:
        self._when += self.rng.randrange(1, 4000)
        return f"{self.rng.choice(AUTHORS)} {self._when} +0100"

    def _line(self, *lines: str) -> None:
        self._parts.extend(f"{line}\n".encode() for line in lines)

    def _data(self, content: bytes) -> None:
        self._parts.append(b"data %d\n%b\n" % (len(content), content))


def _name(commit: int | str) -> str:
    return f":{commit}" if isinstance(commit, int) else commit


def make_bare(path: Path, *, head: str) -> None:
    """Make an empty bare repository by hand: some files, no process."""
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (path / folder).mkdir(parents=True)
    (path / "HEAD").write_text(f"ref: refs/heads/{head}\n", encoding="utf-8")
    (path / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n")


def feed(path: Path, stream: Stream) -> None:
    """Import a stream into a repository; refs may move backwards."""
    run(path, "fast-import", "--quiet", "--force", "--done", content=stream.content())


def run(path: Path, *arguments: str, content: bytes = b"") -> str:
    """Run git in a repository and return what it printed; raise with git's own words if it fails."""
    done = subprocess.run(
        ["git", f"--git-dir={path}", *arguments],
        check=False,
        input=content,
        capture_output=True,
        env=ENVIRONMENT,
        timeout=120,
    )
    if done.returncode:
        raise RuntimeError(f"git {arguments[0]} in {path}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="surrogateescape")
