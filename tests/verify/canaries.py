"""Canary secrets, and the search for them wherever something could have leaked. Imports nothing of the product.

A secret is looked for as it is and in the forms that it takes on its way: percent-encoded, JSON, and as base64 at each
of the three offsets, which finds it in the middle of anything that was encoded with it.
"""

import json
import os
import re
import threading
import time
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

POLL_SECONDS = 0.004
YOUNG_SECONDS = 1.0
"""A process may become another program (exec) soon after it was made: it is looked at again."""
BIGGEST_FILE = 64 * 1024 * 1024


@dataclass
class Canaries:
    """The secrets of one run, by what they are, and a marker that is no secret, to see that a search sees."""

    control: str
    secrets: dict[str, str] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    searched: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, secret: str) -> str:
        """Look for this secret too, and return it. Of a private key each line is looked for."""
        self.secrets[name] = secret
        return secret

    def needles(self) -> dict[bytes, str]:
        """Return what is looked for, and the secret that it stands for."""
        return {needle: name for name, secret in self.secrets.items() for needle in forms(secret)}

    def search(self, data: bytes, *, sink: str, where: str = "") -> None:
        """Look for every secret in what a sink holds."""
        self.searched[sink] += 1
        self.seen[sink] += self.control.encode() in data
        for needle, name in self.needles().items():
            if needle in data:
                self.found.append(f"{name} in {sink} {where} ({needle[:12].decode(errors='replace')}...)")

    def search_tree(self, folder: Path, *, sink: str, without: frozenset[str] = frozenset()) -> None:
        """Look through every file below a folder, and every name."""
        for path in folder.rglob("*"):
            self.search(os.fsencode(path), sink=f"{sink} names")
            plain = path.is_file() and not path.is_symlink() and path.name not in without
            if plain and path.stat().st_size <= BIGGEST_FILE:
                self.search(path.read_bytes(), sink=sink, where=str(path))

    def blind(self, *sinks: str) -> list[str]:
        """Return the sinks in which not even the marker was seen: that search proves nothing."""
        return [sink for sink in sinks if not self.seen[sink]]


def forms(secret: str) -> set[bytes]:
    """Return the forms in which a secret may turn up."""
    if "\n" in secret:
        lines = [line for line in secret.splitlines() if len(line) > 30 and not line.startswith("-----")]
        return {line.encode() for line in lines}
    raw = secret.encode()
    encoded = {_inner_base64(raw, offset=offset) for offset in range(3)}
    plain = {raw, quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode(), raw.hex().encode()}
    return plain | encoded | {form.replace(b"+", b"-").replace(b"/", b"_") for form in encoded}


def _inner_base64(raw: bytes, *, offset: int) -> bytes:
    """Return the characters that stand for `raw` in base64 of anything that has it at this offset modulo three."""
    text = b64encode(b"\0" * offset + raw)
    begin = (0, 2, 3)[offset]
    end = len(text) - (0, 3, 2)[(offset + len(raw)) % 3] - (1 if (offset + len(raw)) % 3 else 0)
    return text[begin:end]


class ProcWatch(threading.Thread):
    """Reads arguments and environment of every process that appears, from the outside, until it is stopped."""

    def __init__(self, canaries: Canaries, *, pattern: bytes) -> None:
        super().__init__(daemon=True)
        self._canaries, self._pattern = canaries, re.compile(pattern)
        self._stopping = threading.Event()
        self._first_seen: dict[int, float] = {}
        self.programs: Counter[str] = Counter()

    def run(self) -> None:
        """Look around as often as that costs little."""
        while not self._stopping.wait(POLL_SECONDS):
            now = time.monotonic()
            for name in os.listdir("/proc"):  # noqa: PTH208  (hundreds of times a second)
                if name.isdigit() and now - self._first_seen.setdefault(int(name), now) < YOUNG_SECONDS:
                    self._look(Path("/proc", name))

    def _look(self, process: Path) -> None:
        try:
            arguments, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            return
        if self._pattern.search(arguments + environment):
            self.programs[Path(os.fsdecode(arguments.partition(b"\0")[0])).name] += 1
            self._canaries.search(arguments, sink="argv", where=repr(arguments[:200]))
            self._canaries.search(environment, sink="environ", where=repr(arguments[:200]))

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        self.join()
