"""grokmirror: an upstream that publishes a manifest, and `grok-pull`, which fetches what the manifest says has changed.

Its own programs, each run as a process: `grok-manifest` for the upstream, `grok-pull` once a sweep for the mirrors.
"""

import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which

from bench.harness.installed import python_with
from bench.harness.measure import Cost, children_cpu_seconds, require
from bench.harness.upstreams import Served
from bench.peers import git_client
from tests.lab.fast_import import ENVIRONMENT

REQUIREMENT = "grokmirror==2.0.12"
MISSING = f"not here, and {REQUIREMENT} could not be installed from PyPI"
NAMES = DEFAULT, BEST = "grok-pull", "grok-pull, best"
WHY = {
    DEFAULT: "defaults: one pull at a time on two cores; a run to its end, with its pauses of five seconds; one that"
    " never ends, as after each multiple of a hundred mirrors, until its last mirror is written. Stated: no"
    " upstream is asked, a manifest that forges do not offer says what changed; their hook makes it, untimed",
    BEST: "best settings: eight pulls at a time, git's maintenance off; timed only until its last mirror is written,"
    " not to the end of its pauses. Stated, for it goes by the same manifest",
}
MANIFEST = "manifest.js.gz"
WRITTEN = "grokmirror.fingerprint"
"""The file of a repository in which grok-pull notes, after each fetch, what the refs are now."""


IDLE_SECONDS = 15.0
"""After so long without a mirror written a run only waits; its pauses are of five seconds."""


@dataclass(frozen=True)
class Settings:
    """How grok-pull is set, the git that it starts, and until when a run is timed.

    `whole`: until its process ends; else until its last mirror is written, for then it only waits.
    """

    pull: str
    git: str
    whole: bool


SETTINGS = {
    DEFAULT: Settings("", "", whole=True),
    BEST: Settings("pull_threads = 8\n", "[maintenance]\nauto = false\n", whole=False),
}


def programs() -> Path | None:
    """Return the folder of grokmirror's programs; None where it cannot be installed."""
    python = python_with(REQUIREMENT)
    return python.parent if python else None


@contextmanager
def beside(
    served: Served, folder: Path, names: Sequence[str]
) -> Iterator[tuple[Served, list["GrokFetcher"]]]:
    """Yield the upstreams with a manifest, and mirrors of them under each name; none if there is no grokmirror."""
    grok = programs() if names else None
    if grok is None:
        yield served, []
        return
    with published(served, folder / "manifest", grok=grok) as (renewed, manifest):
        yield (
            renewed,
            [
                GrokFetcher(name, folder / f"grok-{number}", served, manifest, grok=grok)
                for number, name in enumerate(names)
            ],
        )


@contextmanager
def published(served: Served, folder: Path, *, grok: Path) -> Iterator[tuple[Served, str]]:
    """Yield the upstreams with a manifest that is renewed after each push, as by a hook, and the manifest's URL."""
    assert served.folder
    repositories = served.folder
    folder.mkdir()

    def renew(numbers: Sequence[int]) -> None:
        words = ["--manifest", folder / MANIFEST, "--toplevel", repositories, "--use-now"]
        _run(grok / "grok-manifest", *words, *(repositories / f"{number}.git" for number in numbers))

    def push(numbers: Sequence[int]) -> None:
        served.push(numbers)
        renew(numbers)

    renew([])
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        try:
            yield replace(served, push=push), f"http://127.0.0.1:{server.server_port}/{MANIFEST}"
        finally:
            server.shutdown()


class _Files(SimpleHTTPRequestHandler):
    """Serves files and says when they were changed."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class GrokFetcher:
    """Mirrors that grok-pull clones in its first sweep, and fetches into as the manifest says."""

    def __init__(self, name: str, folder: Path, served: Served, manifest: str, *, grok: Path) -> None:
        self.name = name
        self._settings = SETTINGS[name]
        self._grok = grok
        self._config, self._git_config = folder / "grokmirror.conf", folder / "gitconfig"
        mirrors = folder / "mirrors"
        mirrors.mkdir(parents=True)
        self._paths = [mirrors / f"{number}.git" for number in range(len(served.urls))]
        site = served.urls[0].rpartition("/")[0]
        self._config.write_text(
            f"[core]\ntoplevel = {mirrors}\nlog = {folder}/grok-pull.log\n"
            f"[remote]\nsite = {site}\nmanifest = {manifest}\n[pull]\n{self._settings.pull}"
        )
        self._git_config.write_text(self._settings.git)

    def sweep(self) -> Cost:
        """Run grok-pull once."""
        since, began, cpu = time.time_ns(), time.perf_counter(), children_cpu_seconds()
        command: list[Path | str] = [self._grok / "grok-pull", "--config", self._config]
        with subprocess.Popen(command, env=_environment(self._git_config), stderr=subprocess.DEVNULL) as run:
            ended = self._ended(run, since=since)
            wall = time.perf_counter() - began
        require(not ended or run.returncode == 0, otherwise=f"grok-pull ended with {run.returncode}")
        if not (ended and self._settings.whole):
            wall = last_written(self._paths, since=since)
        return Cost(wall=wall, cpu=children_cpu_seconds() - cpu)

    def _ended(self, run: "subprocess.Popen[bytes]", *, since: int) -> bool:
        """Wait until a run ends, and end it once it has long written nothing more: say whether it did by itself.

        One that fetched a multiple of a hundred mirrors never does: it returns where its list of what was done since
        it last wrote its manifest has something, and it writes that after each hundred.
        """
        written = since
        while True:
            try:
                run.wait(IDLE_SECONDS)
            except subprocess.TimeoutExpired:
                before, written = written, max([since, *_noted(self._paths)])
                if before == written > since:
                    run.terminate()
                    run.wait()
                    return False
            else:
                return True

    def head_of(self, number: int) -> str:
        """Return what a mirror's default branch points at; nothing of one that was never fetched."""
        path = self._paths[number]
        return git_client.head_of(path) if (path / WRITTEN).exists() else ""


def last_written(paths: Sequence[Path], *, since: int) -> float:
    """Return how many seconds after a time in nanoseconds grok-pull noted what it fetched last."""
    noted = max(_noted(paths), default=0)
    require(noted >= since, otherwise="grok-pull fetched nothing")
    return (noted - since) / 1e9


def _noted(paths: Sequence[Path]) -> list[int]:
    return [file.stat().st_mtime_ns for path in paths if (file := path / WRITTEN).exists()]


def _environment(git_config: Path | None = None) -> dict[str, str]:
    """Return the environment of its programs, with the git that everybody uses here."""
    chosen = {"GIT_CONFIG_GLOBAL": str(git_config)} if git_config else {}
    return ENVIRONMENT | {"GITBIN": which("git") or "git"} | chosen


def _run(*words: object) -> None:
    done = subprocess.run([*map(str, words)], env=_environment(), capture_output=True, text=True)
    require(done.returncode == 0, otherwise=f"{words[0]}: {done.stderr[-300:]}")
