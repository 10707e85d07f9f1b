"""Watch all processes of the machine: who shows a secret in its arguments or environment, and how big git gets.

    python -m tests.verify.proc_watch --log FILE --below FOLDER    needles as a JSON list in the first line of stdin

Many times a second, until standard input ends. A line is written for each finding, and for each new peak of the memory
of a process group in which git works below FOLDER: the sum over its processes of the most that each ever had
resident, as the kernel noted it, so that nothing between two looks is missed.
"""

import argparse
import json
import os
import select
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

PAUSE_SECONDS = 0.05
KILOBYTE = 1024


@dataclass
class Watcher:
    """What has been seen so far."""

    log: TextIO
    below: bytes
    needles: list[bytes]
    told: set[tuple[int, str, bytes]] = field(default_factory=set)
    peaks: dict[int, int] = field(default_factory=dict)
    looks: int = 0
    slowest: float = 0.0
    _before: float = 0.0

    def look(self) -> None:
        """Look at every process once."""
        now = time.monotonic()
        self.slowest = max(self.slowest, now - self._before if self._before else 0.0)
        self._before = now
        self.looks += 1
        groups: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        ours: set[int] = set()
        for folder in os.scandir("/proc"):
            if not folder.name.isdigit() or int(folder.name) == os.getpid():
                continue
            words = _read(f"{folder.path}/cmdline")
            self._search(int(folder.name), "argv", words, words)
            self._search(int(folder.name), "environ", _read(f"{folder.path}/environ"), words)
            if b"git" in words:
                group = _group(folder.path)
                groups[group].append((int(folder.name), words))
                if self.below in words and b"--git-dir=" in words:
                    ours.add(group)
        for group in ours:
            self._weigh(group, groups[group])

    def _search(self, pid: int, where: str, text: bytes, words: bytes) -> None:
        for needle in self.needles:
            if needle in text and (pid, where, needle) not in self.told:
                self.told.add((pid, where, needle))
                self.write("secret", pid=pid, where=where, needle=needle.decode(), command=_shown(words))

    def _weigh(self, group: int, members: list[tuple[int, bytes]]) -> None:
        most = sum(_most_resident(pid) for pid, _ in members)
        if most > self.peaks.get(group, 0) * 1.02:
            self.peaks[group] = most
            self.write("memory", group=group, bytes=most, commands=[_shown(words) for _, words in members])

    def write(self, event: str, **fields: object) -> None:
        """Write one line."""
        self.log.write(json.dumps({"event": event, **fields, "t": time.monotonic()}) + "\n")
        self.log.flush()


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (a Path for each would double the cost)
            return file.read()
    except OSError:
        return b""


def _group(folder: str) -> int:
    fields = _read(f"{folder}/stat").rpartition(b")")[2].split()
    return int(fields[2]) if len(fields) > 2 else 0


def _most_resident(pid: int) -> int:
    for line in _read(f"/proc/{pid}/status").split(b"\n"):
        if line.startswith(b"VmHWM:"):
            return int(line.split()[1]) * KILOBYTE
    return 0


def _shown(words: bytes) -> str:
    return words.replace(b"\0", b" ").decode(errors="replace").strip()[:300]


def main() -> None:
    """Watch until standard input ends."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--below", type=Path, required=True)
    options = parser.parse_args()
    needles = [needle.encode() for needle in json.loads(sys.stdin.readline())]
    with options.log.open("a", encoding="utf-8") as log:
        watcher = Watcher(log, os.fsencode(options.below), needles)
        print(json.dumps({"watching": True}), flush=True)
        while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
            watcher.look()
        watcher.write("end", looks=watcher.looks, slowest=watcher.slowest)


if __name__ == "__main__":
    main()
