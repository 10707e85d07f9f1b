"""What becomes of a worker's connection to the database between two tasks."""

import pytest
from celery.fixups.django import DjangoWorkerFixup
from celery.signals import task_postrun, task_prerun
from django.db import connection

from config.celery import app
from mirroring import worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def opened():
    """Return the connection of this thread, as a task leaves it that wrote something."""
    connection.ensure_connection()
    connection.close_at = None  # Whatever the database: not old.
    return connection.connection


def test_celery_does_not_close_it(opened):
    assert app.conf.CELERY_DB_REUSE_MAX
    fixup = DjangoWorkerFixup(app)

    for _ in range(10):
        fixup.close_database()

    assert connection.connection is opened


@pytest.mark.parametrize("signal", [task_prerun, task_postrun])
def test_one_that_is_good_is_kept_and_one_that_is_too_old_is_closed(opened, signal):
    assert worker  # It is what listens.
    signal.send(sender=None)
    kept = connection.connection
    connection.close_at = 0
    signal.send(sender=None)

    assert kept is opened
    assert connection.connection is None
