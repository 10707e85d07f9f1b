"""The environment and configuration that git runs with. Both are built here, neither is inherited."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

TOLERATED = ("badTimezone", "missingSpaceBeforeDate", "zeroPaddedFilemode")
"""Faults that old and honest histories have."""

_CONFIG: tuple[tuple[str, str], ...] = (
    ("credential.helper", ""),
    ("http.followRedirects", "false"),  # git would follow one to an internal address, and take headers along.
    ("http.proxy", ""),
    ("protocol.allow", "never"),
    ("transfer.credentialsInUrl", "die"),
    ("transfer.bundleURI", "false"),
    ("transfer.fsckObjects", "true"),
    *((f"fetch.fsck.{fault}", "ignore") for fault in TOLERATED),
    ("fetch.recurseSubmodules", "no"),
    ("submodule.recurse", "false"),
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.useReplaceRefs", "false"),
    ("core.alternateRefsCommand", "exit 0 #"),
    ("fetch.unpackLimit", "1"),  # Always a pack: moved in as one file.
    ("fetch.writeCommitGraph", "false"),
    ("core.bigFileThreshold", "50m"),  # A bomb of 400 MB of zeros then costs 13 MB of memory, not 385.
    ("core.packedGitWindowSize", "64m"),  # Below the memory limit, whatever the packs are.
    ("core.packedGitLimit", "1g"),
    ("pack.threads", "1"),
    ("pack.windowMemory", "100m"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("core.fsync", "objects,derived-metadata,reference"),
    ("core.fsyncMethod", "batch"),
    ("advice.fetchShowForcedUpdates", "false"),
    ("fetch.showForcedUpdates", "false"),
    (
        "safe.directory",
        "*",
    ),  # The storage is ours; a container may run as another user than the one that owns it.
)


def environment(
    extra_config: Sequence[tuple[str, str]] = (), *, scheme: str = "none", **extra: str
) -> Mapping[str, str]:
    """Return the whole environment of a git process, with configuration that no file holds.

    `scheme` is the one protocol that git may speak; without it, git cannot reach any server.
    """
    config = [*_CONFIG, (f"protocol.{scheme}.allow", "always"), *extra_config]
    numbered = {f"GIT_CONFIG_KEY_{at}": key for at, (key, _) in enumerate(config)}
    numbered |= {f"GIT_CONFIG_VALUE_{at}": value for at, (_, value) in enumerate(config)}
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "XDG_CONFIG_HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "SSH_ASKPASS": "true",
        "GIT_SSH": "false",  # Whoever needs ssh prepares it.
        "GIT_ALLOW_PROTOCOL": scheme,
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_CONFIG_COUNT": str(len(config)),
        **numbered,
        **extra,
    }


def within(directory: Path) -> str:
    """Return the option that names the repository, so that git never searches for one."""
    return f"--git-dir={directory}"
