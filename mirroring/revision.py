"""Which revision runs: what the deployment says, else what the checkout's own files say."""

from functools import cache
from importlib.metadata import version
from pathlib import Path

from django.conf import settings


@cache
def current() -> str:
    """Return the revision that this process was started from; "unknown" if nothing says."""
    return settings.REVISION or read(settings.BASE_DIR / ".git") or "unknown"


def versions() -> dict[str, str]:
    """Return the versions of what this service is built on."""
    return {"django": version("django"), "celery": version("celery")}


def read(git_dir: Path) -> str:
    """Return the commit that a checkout stands on, read without starting git; empty if it cannot be told."""
    try:
        if git_dir.is_file():  # A linked work tree: the file says where its folder is.
            git_dir = git_dir.parent / git_dir.read_text().removeprefix("gitdir:").strip()
        head = (git_dir / "HEAD").read_text().strip()
        return _of_branch(git_dir, head.removeprefix("ref:").strip()) if head.startswith("ref:") else head
    except OSError:
        return ""


def _of_branch(git_dir: Path, ref: str) -> str:
    common = git_dir / "commondir"
    shared = git_dir / common.read_text().strip() if common.exists() else git_dir
    loose = shared / ref
    if loose.exists():
        return loose.read_text().strip()
    lines = (shared / "packed-refs").read_text().splitlines()
    return next((line.split()[0] for line in lines if line.endswith(f" {ref}")), "")
