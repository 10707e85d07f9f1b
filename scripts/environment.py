"""Make `.venv` from the locked requirements, by whatever this machine has; only the standard library is needed.

The environment is made by `venv`, else by `uv`, else by a `virtualenv` that pip fetches into a folder: a fresh
Debian has pip but neither of the first two. A stamp tells at the next call that there is nothing to do.
"""

import argparse
import errno
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED_MB = {"requirements.txt": 400, "requirements-test.txt": 900}
# Settings of the caller's shell that would lead an installer to another place.
FOREIGN = (
    "PYTHONHOME",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_USER",
    "PIP_REQUIRE_VIRTUALENV",
    "UV_PROJECT_ENVIRONMENT",
)


# What an installer says, and what it means for the person who waits.
KNOWN_CAUSES = {
    os.strerror(errno.ENOSPC): "The disk is full: make room there or in TMPDIR, then try again.",
    "connection broken by": "The package index cannot be reached: is there a network, or a proxy to set?",
    "DO NOT MATCH THE HASHES": "A downloaded file is not the locked one (wrong hash): do not use this package index.",
}


class SetupError(Exception):
    """The environment cannot be made; the message is one line that says what to do next."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Make .venv from the locked requirements.")
    parser.add_argument("--tests", action="store_true", help="also what the tests and checks need")
    lock = "requirements-test.txt" if parser.parse_args().tests else "requirements.txt"
    try:
        require_git()
        print(set_up(lock))
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"The set-up stopped: {explain(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def set_up(lock: str) -> str:
    """Make or refresh the environment and return one line about it."""
    began = time.monotonic()
    venv, build = ROOT / ".venv", ROOT / ".build"
    build.mkdir(exist_ok=True)
    with (build / "setup.lock").open("w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        if is_current(venv, lock):
            return f"Set-up: nothing to do, {venv} is current."
        require_space(lock)
        (build / "setup.log").unlink(missing_ok=True)
        if not is_usable(venv):
            shutil.rmtree(venv, ignore_errors=True)
            create(venv, build)
        install(venv, build, lock)
        stamp(venv, lock).write_text(fingerprint(venv, lock))
    return f"Set-up: {venv} is ready, {time.monotonic() - began:.0f} s (Python {version()}, {lock})."


def is_current(venv: Path, lock: str) -> bool:
    """Tell whether the environment holds what the lock names (the lock of the tests holds the other one)."""
    return any(
        stamp(venv, name).is_file() and stamp(venv, name).read_text() == fingerprint(venv, name)
        for name in {lock, "requirements-test.txt"}
    )


def is_usable(venv: Path) -> bool:
    """Tell whether the environment's Python starts and is the version that runs us."""
    question = "import sys; print(sys.prefix, '.'.join(map(str, sys.version_info[:3])))"
    try:
        answer = subprocess.run(
            [venv / "bin" / "python", "-c", question], capture_output=True, env=clean(), text=True
        )
    except OSError:
        return False
    return answer.stdout.strip() == f"{venv} {version()}"


def create(venv: Path, build: Path) -> None:
    """Make an empty environment by the first way that this machine has."""
    if importlib.util.find_spec("ensurepip"):
        run(build, sys.executable, "-m", "venv", venv)
    elif shutil.which("uv"):
        run(build, "uv", "venv", "--quiet", "--python", sys.executable, venv)
    elif importlib.util.find_spec("pip"):
        tool = build / "virtualenv"
        shutil.rmtree(tool, ignore_errors=True)
        wanted = ("--require-hashes", "-r", ROOT / "requirements-bootstrap.txt")
        run(build, sys.executable, "-m", "pip", "install", "--quiet", "--target", tool, *wanted)
        run(build, sys.executable, "-m", "virtualenv", "--quiet", venv, PYTHONPATH=str(tool))
    else:
        raise SetupError(f"Python has neither venv nor pip here; type: {apt('python3-venv')}")


def install(venv: Path, build: Path, lock: str) -> None:
    python, wanted = venv / "bin" / "python", ("--require-hashes", "-r", ROOT / lock)
    print(f"Set-up: installing {lock} into {venv} ...", flush=True)
    if (venv / "bin" / "pip").exists():
        options = ("--quiet", "--disable-pip-version-check", "--no-input")
        run(build, python, "-m", "pip", "install", *options, *wanted)
    else:
        run(build, "uv", "pip", "install", "--quiet", "--python", python, *wanted)


def run(build: Path, *command: str | Path, **environment: str) -> None:
    """Run one step with its output in a log; a failure is told in one line."""
    log = build / "setup.log"
    with log.open("ab") as output:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**clean(), **environment}
        )
    if done.returncode == 0:
        return
    raise SetupError(f"Set-up failed. {cause(log.read_text(errors='replace'))} (all of it: {log})")


def cause(said: str) -> str:
    """Return what to tell about an installer's output: a known cause, else its last word."""
    for text, sentence in KNOWN_CAUSES.items():
        if text in said:
            return sentence
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = (
        [line for line in lines if line.lower().startswith("error")] or lines[-1:] or ["It said nothing."]
    )
    return errors[-1][:300]


def require_git() -> None:
    if not shutil.which("git"):
        raise SetupError(f"git is missing; type: {apt('git')}")


def require_space(lock: str) -> None:
    free = shutil.disk_usage(ROOT).free // 2**20
    if free < NEEDED_MB[lock]:
        raise SetupError(
            f"{ROOT} has {free} MB free and the set-up needs {NEEDED_MB[lock]} MB: make room first."
        )


def explain(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"The disk is full: make room in {ROOT} or in TMPDIR, then try again."
    if error.errno in (errno.EACCES, errno.EROFS):
        return (
            f"{error.filename or ROOT} cannot be written ({error.strerror}): clone to a folder of your own."
        )
    return f"{error.strerror or error}: {error.filename}"


def apt(package: str) -> str:
    return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install {package}"


def fingerprint(venv: Path, lock: str) -> str:
    text = "\n".join([version(), str(venv), (ROOT / lock).read_text()])
    return hashlib.sha256(text.encode()).hexdigest()


def stamp(venv: Path, lock: str) -> Path:
    return venv / f"installed-{lock}"


def clean() -> dict[str, str]:
    """Return our environment without what points an installer elsewhere."""
    return {name: value for name, value in os.environ.items() if name not in FOREIGN}


def version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


if __name__ == "__main__":
    sys.exit(main())
