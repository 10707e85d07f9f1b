"""A worker to be killed: for each line `URL FOLDER EPOCH` it forks a process that imports, and prints its id.

Forking spares the second that a new interpreter and Django would take.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path


def main() -> None:
    import django

    django.setup()
    from mirroring.upstream.disk.repository import Repository
    from mirroring.upstream.fetch import fetch
    from mirroring.upstream.git import confinement
    from mirroring.upstream.git.process import StopHandle
    from mirroring.upstream.transfer.session import Order
    from tests.upstream.conftest import DEFAULT

    confinement.prefix()
    for line in sys.stdin:
        url, folder, epoch = line.split()
        if pid := os.fork():
            print(pid, flush=True)
            _, status = os.waitpid(pid, 0)
            print(status, flush=True)
            continue
        order = Order(
            repository=Repository(Path(folder)),
            url=url,
            refspecs=DEFAULT,
            epoch=int(epoch),
            timeout=timedelta(seconds=30),
        )
        fetch(order, still_ours=lambda: True, stop=StopHandle())
        os._exit(0)


if __name__ == "__main__":
    main()
