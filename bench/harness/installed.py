"""Peers: from PyPI, each in an environment of its own below .build/peers, and from Debian; installed once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.harness.machine import ROOT

PEERS = ROOT / ".build" / "peers"


def python_with(requirement: str) -> Path | None:
    """Return a Python that has the requirement (`name==version`); None where it cannot be installed."""
    folder = PEERS / requirement.replace("==", "-")
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        made = [sys.executable, "-m", "virtualenv", "--quiet", str(folder)]
        installed = [str(python), "-m", "pip", "install", "--quiet", requirement]
        for command in (made, installed):
            if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
                return None
        done.touch()
    return python


def from_debian(package: str) -> None:
    """Install a package of Debian, if this is Debian and we may. Whoever asks sees for himself whether it is there."""
    if os.geteuid() or not shutil.which("apt-get"):
        return
    for words in (["update"], ["install", "--yes", "--no-install-recommends", package]):
        subprocess.run(
            ["apt-get", "-qq", *words],
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
