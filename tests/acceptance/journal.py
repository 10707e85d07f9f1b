"""Everything that happens, as JSON lines, and the last of it for the screen."""

import json
import threading
import time
from collections import deque
from pathlib import Path


class Journal:
    """Events of the demo; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self.phase = ""
        self.begin = time.monotonic()
        self.last: deque[str] = deque(maxlen=6)

    def seconds(self) -> float:
        """Return how long the run has taken."""
        return time.monotonic() - self.begin

    def note(self, event: str, text: str = "", **fields: object) -> None:
        """Write one event; a text is shown to the one who watches."""
        line = {"event": event, **fields, "t": time.monotonic(), "wall": time.time()}
        with self._lock:
            if text:
                self.last.append(f"{self.seconds():6.1f} s  {text}")
            if not self._file.closed:
                self._file.write(json.dumps(line, default=str) + "\n")
                self._file.flush()

    def enter(self, phase: str) -> None:
        """Begin a new part of the run."""
        self.phase = phase
        self.note("phase", phase, name=phase)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()
