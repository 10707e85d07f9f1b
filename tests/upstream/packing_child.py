"""A process that rolls packs up and is killed: for each line `FOLDER STEP` it forks one, and prints its id.

It is killed just before its STEPth renaming or deleting of a file; with 0 by nobody, but for whoever reads its id.
"""

import itertools
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path


def main() -> None:
    import django

    django.setup()
    from mirroring.upstream.disk import packing
    from mirroring.upstream.disk.repository import Repository
    from mirroring.upstream.git import confinement
    from mirroring.upstream.git.bounds import NO_BOUNDS
    from mirroring.upstream.git.process import StopHandle

    confinement.prefix()
    packing.EVERY = 1
    for line in sys.stdin:
        folder, step = line.split()
        if pid := os.fork():
            print(pid, flush=True)
            _, status = os.waitpid(pid, 0)
            print(status, flush=True)
            continue
        repository = Repository(Path(folder))
        repository.stage(1)
        sys.addaudithook(killer(int(step)))
        packing.roll_up(
            repository,
            1,
            brought=1,
            bounds=NO_BOUNDS,
            left=timedelta(seconds=30),
            still_ours=lambda: True,
            stop=StopHandle(),
        )
        os._exit(0)


def killer(step: int):
    steps = itertools.count(1)

    def look(event: str, _) -> None:
        if event in {"os.rename", "os.remove"} and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return look


if __name__ == "__main__":
    main()
