"""Which git runs here, and what it is too old for."""

import re
import shutil
from datetime import timedelta
from pathlib import Path

from django.conf import settings

from mirroring.upstream.errors import GitError
from mirroring.upstream.git import process
from mirroring.upstream.git.environment import environment

OLDEST = (2, 37)
"""The first that pins addresses (http.curloptResolve) and refuses passwords in URLs (transfer.credentialsInUrl)."""

LAST_MENDED = (2, 50, 1)
MENDED = {(2, 43): (2, 43, 7), (2, 44): (2, 44, 4), (2, 45): (2, 45, 4), (2, 46): (2, 46, 4), (2, 47): (2, 47, 3),
          (2, 48): (2, 48, 2), (2, 49): (2, 49, 1)}  # fmt: skip
"""The releases from which on what was published in July 2025 is mended (CVE-2025-48384, 48385, 48386)."""

# Who takes git from a distribution gets its fixes under the old number.
PACKAGED_AT = Path("/usr/bin/git")
PACKAGE_LISTS = (
    "/var/lib/dpkg/status",
    "/var/lib/rpm",
    "/usr/lib/sysimage/rpm",
    "/lib/apk/db",
    "/var/lib/pacman",
)

TIMEOUT = timedelta(seconds=10)


def complaint() -> str:
    """Return what is wrong with git, and what to do; empty if it can do what is asked of it."""
    try:
        said = process.run(
            [settings.GIT, "version"], environment=environment(), timeout=TIMEOUT, stop=process.StopHandle()
        )
    except (GitError, OSError):
        return f"{settings.GIT} cannot be run: install git {_text(OLDEST)} or later, or set MIRRORING_GIT"
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    if not found:
        return ""
    major, minor, patch = (int(number or 0) for number in found.groups())
    version = (major, minor, patch)
    if version < OLDEST:
        return f"git {found[0]} does not pin the addresses of upstreams: install {_text(OLDEST)} or later"
    if version < MENDED.get((major, minor), LAST_MENDED) and not _packaged():
        best = f"{_text(LAST_MENDED)} or later, or the git of your distribution"
        return f"git {found[0]} has known holes (CVE-2025-48385 and others): install {best}"
    return ""


def _packaged() -> bool:
    """Say whether the distribution installed git."""
    found = shutil.which(settings.GIT)
    ours = found is not None and Path(found).resolve() == PACKAGED_AT.resolve()
    return ours and any(Path(each).exists() for each in PACKAGE_LISTS)


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
