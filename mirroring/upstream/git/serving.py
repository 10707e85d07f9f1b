"""Serving a mirror: `git upload-pack` as a stateless exchange, streamed both ways."""

import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from django.conf import settings

from mirroring.upstream.git.environment import environment
from mirroring.upstream.git.process import kill_group

CHUNK = 64 * 1024


def upload_pack(
    repository: Path, *, advertise: bool, protocol: str, body: Iterable[bytes]
) -> Iterator[bytes]:
    """Yield what `git upload-pack` answers to `body`. Closing the iterator kills the process group."""
    options = ["--stateless-rpc", "--strict", "--timeout=600", *(["--advertise-refs"] if advertise else [])]
    with subprocess.Popen(
        [settings.GIT, "upload-pack", *options, str(repository)],
        env={**environment(), "GIT_PROTOCOL": protocol},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        feeder = threading.Thread(target=_feed, args=(process, body), daemon=True)
        feeder.start()
        try:
            while chunk := process.stdout.read1(CHUNK):  # type: ignore[union-attr]
                yield chunk
        finally:
            kill_group(process.pid, signal.SIGKILL)
            feeder.join(timeout=5)


def _feed(process: "subprocess.Popen[bytes]", body: Iterable[bytes]) -> None:
    try:
        with process.stdin as pipe:  # type: ignore[union-attr]
            for chunk in body:
                pipe.write(chunk)
    except (BrokenPipeError, ValueError):
        pass  # upload-pack ended before it had read everything: its answer says why.
