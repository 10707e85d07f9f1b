"""JSON lines from several threads, with the wall clock that Redis and the rows go by."""

import json
import threading
import time
from pathlib import Path


class Log:
    """One file of events."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def write(self, event: str, *, at: float | None = None, **fields: object) -> None:
        """Write one event."""
        line = {"event": event, "at": time.time() if at is None else at, **fields}
        with self._lock:
            if not self._file.closed:
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()
