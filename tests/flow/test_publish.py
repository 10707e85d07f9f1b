"""Messages that are published in bulk are those that `apply_async` sends."""

import json
from base64 import b64decode
from typing import Any

import pytest

from mirroring import publish

pytestmark = pytest.mark.one_database
KEY = "mirroring:{}"


def queued(redis_client: Any, queue: str) -> list[dict[str, Any]]:
    """Return the messages of a queue, the one that is consumed first in front."""
    return [json.loads(message) for message in reversed(redis_client.lrange(KEY.format(queue), 0, -1))]


def without_ids(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with its own ids named by what they are, so that two messages can be compared."""
    headers, properties = message["headers"], message["properties"]
    own = {headers["id"]: "id", properties["delivery_tag"]: "tag"}
    assert len(own) == 2
    text = json.dumps(message, sort_keys=True)
    for value, name in own.items():
        text = text.replace(value, name)
    return {**json.loads(text), "body": json.loads(b64decode(message["body"]))}


@pytest.mark.parametrize(
    ("name", "queue", "arguments"),
    [
        ("project_import_schedule", "scheduling", (7, 3)),
        ("update_mirror", "imports", (2**40, 1)),
        ("update_all_mirrors", "control", ()),
    ],
)
def test_a_message_of_a_bulk_is_equal_to_that_of_apply_async(redis_client, name, queue, arguments):
    from mirroring import tasks

    task = getattr(tasks, name)
    task.apply_async(arguments)
    publish.publish(task, [arguments], queue=queue)

    theirs, ours = queued(redis_client, queue)

    assert without_ids(ours) == without_ids(theirs)
    assert ours["headers"]["id"] != theirs["headers"]["id"]


def test_a_bulk_is_consumed_in_its_order_and_no_message_is_lost_between_flushes(redis_client):
    from mirroring.tasks import project_import_schedule as task

    jobs = [(mirror, 1) for mirror in range(publish.FLUSH_AT * 2 + 1)]

    publish.publish(task, jobs, queue="scheduling")

    messages = queued(redis_client, "scheduling")
    assert [tuple(json.loads(b64decode(message["body"]))[0]) for message in messages] == jobs
    assert len({message["headers"]["id"] for message in messages}) == len(jobs)
    assert len({message["properties"]["delivery_tag"] for message in messages}) == len(jobs)
