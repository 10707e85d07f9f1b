"""Peers from PyPI, each in an environment of its own below .build/peers, installed once."""

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
