"""The Celery application: queues, settings with a reason each, and the beat schedule."""

import os
import sys

from celery import Celery
from kombu import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings

VISIBILITY_TIMEOUT_SECONDS = 6 * 3600
"""After this an unacknowledged message is delivered again, whether its task still runs or not. It must outlast every
import; a duplicate is harmless all the same, for its epoch is old."""


def broker_url(redis_url: str) -> str:
    """Return the URL by which kombu knows the server at `redis_url`."""
    return redis_url.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")


app = Celery("mirroring")
app.conf.update(
    broker_url=broker_url(settings.REDIS_URL),
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # The default gives up after 100 tries.
    broker_transport_options={
        "global_keyprefix": "mirroring:",
        "visibility_timeout": VISIBILITY_TIMEOUT_SECONDS,
        "unacked_restore_interval": 10,
        "socket_timeout": 15,
        "socket_connect_timeout": 5,
        "socket_keepalive": not settings.REDIS_URL.startswith("unix://"),
        "health_check_interval": 10,  # Finds a connection whose other end is gone.
    },
    task_serializer="json",
    accept_content=["json"],
    event_serializer="json",
    task_ignore_result=True,  # The attempt row is the record of a run.
    result_backend=None,
    # Acknowledged after the work, so that a worker's orderly end gives its messages back at once. A message that
    # is lost all the same, as Celery on Redis can under SIGKILL, costs a lease: repair makes the row due again.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_acks_on_failure_or_timeout=True,
    worker_prefetch_multiplier=1,  # Nothing waits behind a long import while another worker is idle.
    worker_cancel_long_running_tasks_on_connection_loss=False,  # Our lease decides who may go on.
    worker_hijack_root_logger=False,
    worker_send_task_events=False,  # Three messages a task, for nobody: Flower asks for them while it runs.
    worker_max_tasks_per_child=None,
    task_default_queue="control",
    # An exchange each: with the default one, every message would go to all of them.
    task_queues=[
        Queue(name, Exchange(name), routing_key=name)
        for name in ("control", "scheduling", "imports", "checks")
    ],
    task_create_missing_queues=False,  # A mistyped queue name is an error, not a new queue that nobody reads.
    task_routes={
        "mirroring.tasks.update_all_mirrors": {"queue": "control"},
        "mirroring.tasks.repair": {"queue": "control"},
        "mirroring.tasks.sample_metrics": {"queue": "control"},
        "mirroring.tasks.drive_rollouts": {"queue": "control"},
        "mirroring.tasks.send_late_answers": {"queue": "control"},
        "mirroring.tasks.check_mirrors": {"queue": "checks"},
        "mirroring.tasks.project_import_schedule": {"queue": "scheduling"},
        "mirroring.tasks.update_mirror": {"queue": "imports"},
    },
    beat_scheduler="config.beat:LiveScheduler",
    beat_schedule_filename=str(settings.STATE_DIR / "beat-schedule"),
    beat_max_loop_interval=2,  # A changed tick is seen this soon.
    # Celery would have each task open a connection of its own. `mirroring.worker` closes those that are to be closed.
    CELERY_DB_REUSE_MAX=sys.maxsize,
)
app.autodiscover_tasks(["mirroring"])
app.autodiscover_tasks(["mirroring"], related_name="worker")
