"""Processes of these tests' own: a module that is told what to do line by line, and can be killed at its work."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def child(module: str, *words: object) -> "subprocess.Popen[str]":
    """Start a module beside the tests of this folder; it reads lines and answers with lines."""
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.upstream.{module}", *map(str, words)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def forked(process: "subprocess.Popen[str]", *words: object) -> int:
    """Have a child do something in a process of its own, and return that process's id."""
    process.stdin.write(" ".join(map(str, words)) + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())
