"""Watch a run until standard input ends: `python -m tests.verify.watch FOLDER`.

FOLDER/watch.json holds redis_url, database_url and the mirrors (id, repository, upstream); FOLDER/states.json every
state that each upstream publishes. The files pools.jsonl, rows.jsonl, refs.jsonl and, on SQLite,
locks.jsonl are written there.
"""

import json
import os
import sys
import threading
from pathlib import Path

from tests.verify.watch import pools, rows
from tests.verify.watch.log import Log
from tests.verify.watch.refs import Reader, Writers, repositories


def main(folder: Path) -> None:
    """Start all instruments, and stop them when standard input ends."""
    told = json.loads((folder / "watch.json").read_text())
    watched = repositories(told["mirrors"], json.loads((folder / "states.json").read_text()))
    ended, log = threading.Event(), Log(folder / "refs.jsonl")
    reader, writers = Reader(watched, log, ended), Writers(watched, log, told["database_url"])
    threads = [
        threading.Thread(target=pools.watch, args=(folder / "pools.jsonl", told["redis_url"], ended)),
        threading.Thread(target=rows.watch, args=(folder / "rows.jsonl", told["database_url"], ended)),
        threading.Thread(target=rows.lock_watch, args=(folder / "locks.jsonl", told["database_url"], ended)),
        threading.Thread(target=writers.follow, args=(ended,)),
        reader,
    ]
    for thread in threads:
        thread.start()
    print(json.dumps({"watching": len(watched)}), flush=True)
    while os.read(sys.stdin.fileno(), 1024):
        pass
    ended.set()
    for thread in threads:
        thread.join()
    log.write("reads", **reader.counts)
    log.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
