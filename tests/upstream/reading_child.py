"""A reader of a mirror: looks at all refs again and again, and prints what it saw when standard input ends.

`packed` reads the file as other programs would, `git` asks git, as `git upload-pack` does for a clone.
"""

import json
import select
import subprocess
import sys
import time
from pathlib import Path


def main(kind: str, folder: str) -> None:
    seen = {"reads": 0, "versions": 0, "mixed": []}
    versions = set()
    print("reading", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        oids = packed(folder) if kind == "packed" else asked(folder)
        seen["reads"] += 1
        versions |= set(oids)
        time.sleep(0.001)
        if len(set(oids)) != 1 or len(oids) != 200:
            seen["mixed"].append([len(oids), len(set(oids))])
    seen["versions"] = len(versions)
    print(json.dumps(seen))


def packed(folder: str) -> list[str]:
    lines = (Path(folder) / "packed-refs").read_text().splitlines()
    return [line.split()[0] for line in lines if line[0] not in "#^"]


def asked(folder: str) -> list[str]:
    command = ["git", f"--git-dir={folder}", "for-each-ref", "--format=%(objectname)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


if __name__ == "__main__":
    main(*sys.argv[1:])
