"""Listen to one Redis server and write down what it is asked, as JSON lines; imports nothing of the product.

    python -m tests.verify.seed.recorder --redis URL --log FILE

The server's own MONITOR tells each message of a scheduling job, each slot taken and freed, and what each worker says
of the flags. Once a second the server is asked how much it has read and run: one read is one round trip of some
client. What this process itself costs is taken off. It says `{"ready": true}` and ends with its standard input.
"""

import argparse
import base64
import json
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import redis

TAG = "{mirroring}"
BODY = re.compile(r'"body": "([A-Za-z0-9+/=]+)"')
PERIOD = 1.0
Event = dict[str, Any]


def decode(command: str, *, by_script: bool) -> Iterator[Event]:
    """Return what one command of the stream means, if it means anything here."""
    verb, _, rest = command.partition(" ")
    key, _, values = rest.partition(" ")
    match verb.upper(), key:
        case "LPUSH", "mirroring:scheduling":
            if found := BODY.search(values):
                mirror, epoch = json.loads(base64.b64decode(found[1]))[0]
                yield {"e": "enqueued", "token": f"{mirror}:{epoch}"}
        case "ZREM", "{mirroring}:processing":
            yield from ({"e": "handed_over", "token": token} for token in values.split())
        case "ZREM", "{mirroring}:importing":
            yield from ({"e": "freed", "token": token} for token in values.split())
        case "ZADD", "{mirroring}:importing":
            words = [word for word in values.split() if word not in {"XX", "GT"}]
            yield from ({"e": "slot", "token": token} for token in words[1::2])
        case "HSET", "{mirroring}:notes" if by_script:
            worker, _, note = values.partition(" ")
            yield {"e": "note", "worker": worker, "flags": json.loads(note).get("flags", {})}


def purpose(command: str) -> str:
    """Say whose a command is: the tracker's or the broker's."""
    return "tracker" if TAG in command[:400] else "broker"


class Recorder:
    """Two connections: one listens, one asks."""

    def __init__(self, url: str, log: Path) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._file = log.open("a", encoding="utf-8")
        self._asked: Counter[str] = Counter()

    def write(self, event: Event) -> None:
        """Write one line."""
        with self._lock:
            if not self._file.closed:
                self._file.write(json.dumps(event) + "\n")
                self._file.flush()

    def listen(self, ready: threading.Event) -> None:
        """Write down what happens until the server or this process ends."""
        client = redis.Redis.from_url(self._url)
        with client.monitor() as stream:
            ready.set()
            for each in stream.listen():
                by_script = each["client_type"] == "lua"
                if not by_script:
                    self._asked[purpose(each["command"])] += 1
                for event in decode(each["command"], by_script=by_script):
                    self.write({"t": each["time"], **event})

    def ask(self, ended: threading.Event) -> None:
        """Write down once a second how much the server has done."""
        client = redis.Redis.from_url(self._url)
        asked = 0
        while not ended.wait(PERIOD):
            info = cast(dict[str, Any], client.info("all"))
            asked += 1
            stats = [value for name, value in info.items() if name.startswith("cmdstat_")]
            self.write(
                {
                    "t": time.time(),
                    "e": "done",
                    "reads": int(info["total_reads_processed"]) - asked,
                    "calls": sum(int(each["calls"]) for each in stats) - asked,
                    "run": info["run_id"],
                    **{f"{who}_commands": number for who, number in self._asked.items()},
                }
            )


def main() -> None:
    """Record until standard input ends."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    recorder, ready, ended = Recorder(options.redis, options.log), threading.Event(), threading.Event()
    for work, argument in ((recorder.listen, ready), (recorder.ask, ended)):
        threading.Thread(target=_quietly, args=(work, argument), daemon=True).start()
    ready.wait(10)
    print(json.dumps({"ready": ready.is_set()}), flush=True)
    while os.read(sys.stdin.fileno(), 1024):
        pass
    ended.set()


def _quietly(work: Any, argument: threading.Event) -> None:
    try:
        work(argument)
    except redis.RedisError:
        return  # The server has ended, and with it what there is to record.


if __name__ == "__main__":
    main()
