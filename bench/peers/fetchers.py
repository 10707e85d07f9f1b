"""Fleets of mirror clones that are kept fresh without us: by a Celery task a mirror, and by xargs."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from bench.harness.lab import Lab
from bench.harness.machine import ROOT
from bench.harness.measure import Cost, Void, cpu_seconds, require
from bench.harness.process_cpu import Stopwatch
from bench.peers import git_client
from mirroring.stack.children import descendants, dies_with_parent
from tests.lab.fast_import import ENVIRONMENT

PATIENCE_SECONDS = 3600.0


class Clones:
    """Mirror clones of all upstreams, in a folder. All but the first begin as copies of it: they are not measured."""

    def __init__(self, folder: Path, urls: Sequence[str]) -> None:
        self.paths = [folder / f"{number}.git" for number in range(len(urls))]
        git_client.clone(urls[0], self.paths[0])
        for url, path in zip(urls[1:], self.paths[1:], strict=True):
            git_client.copy(self.paths[0], path, url)

    def head_of(self, number: int) -> str:
        """Return what the default branch of a clone points at."""
        return git_client.head_of(self.paths[number])


class XargsFetcher(Clones):
    """Two lean fetches at a time, and nothing else."""

    def sweep(self) -> Cost:
        """Fetch into all clones."""
        began, cpu = time.perf_counter(), cpu_seconds()
        done = subprocess.run(
            ["xargs", "-P2", "-I{}", "git", "-C", "{}", *git_client.LEAN],
            input="\n".join(map(str, self.paths)),
            env=ENVIRONMENT,
            text=True,
            capture_output=True,
        )
        require(done.returncode == 0, otherwise=f"xargs: {done.stderr[-300:]}")
        return Cost(wall=time.perf_counter() - began, cpu=cpu_seconds() - cpu)


class CeleryFetcher(Clones):
    """A worker of Celery with two children, and a task for each clone."""

    def __init__(self, place: Lab, folder: Path, urls: Sequence[str]) -> None:
        super().__init__(folder, urls)
        self._redis = place.redis
        from config.celery import broker_url

        environment = place.environment(BENCH_BROKER=broker_url(place.redis_url), BENCH_REDIS=place.redis_url)
        words = ["-m", "celery", "-A", "bench.peers.celery_fetch", "worker", "--pool", "prefork", "-c", "2"]
        self._log = folder / "worker.log"
        with self._log.open("wb") as log:
            self._worker = subprocess.Popen(
                [*dies_with_parent(), sys.executable, *words, "--without-gossip", "--without-mingle"],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        self._broker = broker_url(place.redis_url)

    def __enter__(self) -> Self:
        self.sweep()  # It has then started.
        return self

    def __exit__(self, *exception: object) -> None:
        self._worker.terminate()
        try:
            self._worker.wait(15)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            self._worker.wait()

    def sweep(self) -> Cost:
        """Enqueue a task for each clone and wait until all have run."""
        from bench.peers import celery_fetch

        celery_fetch.app.conf.update(broker_url=self._broker)
        self._redis.delete(celery_fetch.DONE)
        watch, began = Stopwatch(self._pids), time.monotonic()
        with celery_fetch.app.producer_or_acquire() as producer, producer.batch(max_size=1000):
            for path in self.paths:
                celery_fetch.fetch.apply_async((str(path),), producer=producer)
        while int(self._redis.get(celery_fetch.DONE) or 0) < len(self.paths):
            if self._worker.poll() is not None or time.monotonic() - began > PATIENCE_SECONDS:
                raise Void(f"the worker of Celery stands still: {self._log.read_text()[-300:]}")
            time.sleep(0.02)
        return watch.stop()

    def _pids(self) -> list[int]:
        return [self._worker.pid, *descendants(self._worker.pid)]
