"""A task for each mirror that runs `git fetch`: how Celery is used for it where nobody counts the cost.

Started as `python -m celery -A bench.peers.celery_fetch worker --pool prefork -c 2`; BENCH_BROKER names its Redis.
"""

import os

import redis
from celery import Celery

from bench.peers import git_client

DONE = "bench:fetched"

# Not the current application of the process, or our own tasks would be sent by it.
app = Celery("fetching", broker=os.environ.get("BENCH_BROKER"), set_as_current=False)
app.conf.update(
    task_ignore_result=True,
    task_default_queue="bench-fetches",
    worker_prefetch_multiplier=4,  # The default; others made no difference that could be measured.
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.fetch")
def fetch(path: str) -> None:
    """Fetch into one mirror clone and count it."""
    git_client.fetch_one(path)
    redis.Redis.from_url(os.environ["BENCH_REDIS"]).incr(DONE)
