"""Saying something in Slack: in a channel, or as the late answer to a command. No act waits for it or fails by it."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from django.conf import settings
from slack_sdk import WebClient
from slack_sdk.errors import SlackClientError
from slack_sdk.webhook import WebhookClient

from mirroring.models.late_answer import LateAnswer

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5
LONGEST = 3_500
"""Characters of one message; Slack cuts at 4,000."""

AGAIN = timedelta(seconds=30)

_posting = ThreadPoolExecutor(max_workers=1, thread_name_prefix="announce")


def post(channel: str, text: str) -> str:
    """Post to a channel, by name or id. Return Slack's stamp of it; none, and a line in the log, if it failed."""
    if not settings.SLACK_BOT_TOKEN:
        logger.info("not announced: no SLACK_BOT_TOKEN is set", extra={"channel": channel})
        return ""
    client = WebClient(settings.SLACK_BOT_TOKEN, base_url=settings.SLACK_API_URL, timeout=TIMEOUT_SECONDS)
    try:
        answer = client.chat_postMessage(channel=channel, text=shortened(text))
    except (SlackClientError, OSError) as error:
        logger.warning(
            "not announced: Slack refused or was away", extra={"channel": channel, "why": str(error)}
        )
        return ""
    return str(answer.get("ts", ""))


def post_soon(channel: str, text: str) -> None:
    """Post without waiting for Slack. The process ends no sooner than that is done."""
    if settings.SLACK_BOT_TOKEN:
        _posting.submit(post, channel, text)


def shortened(text: str) -> str:
    """Return a text that Slack takes as one message."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def owe(url: str, text: str, *, now: datetime, until: datetime) -> LateAnswer:
    """Keep an answer that is owed; `text` is what is said if nobody brings a better one before `until`."""
    LateAnswer.forget_old(now=now)
    return LateAnswer.objects.create(url=url, text=text, made_at=now, due_at=until)


def settle(owed: LateAnswer, text: str, *, now: datetime) -> bool:
    """Send an answer now that it is known; if Slack is away, `send_owed` tries again. False: it was not sent by us."""
    LateAnswer.objects.filter(pk=owed.pk, sent_at=None).update(text=text, due_at=now)
    owed.text, owed.due_at = text, now
    return _send(owed, now=now)


def send_owed(*, now: datetime) -> int:
    """Send what is due: answers whose process has ended, and those that Slack did not take. Return how many."""
    LateAnswer.forget_old(now=now)
    return sum(_send(owed, now=now) for owed in LateAnswer.objects.filter(sent_at=None, due_at__lte=now))


def _send(owed: LateAnswer, *, now: datetime) -> bool:
    """Send one. Of two that try only one does."""
    rows = LateAnswer.objects.filter(pk=owed.pk, sent_at=None, due_at=owed.due_at)
    if not rows.update(due_at=now + AGAIN):
        return False
    sent = respond(owed.url, owed.text)
    if sent:
        LateAnswer.objects.filter(pk=owed.pk).update(sent_at=now)
    return sent


def respond(url: str, text: str) -> bool:
    """Send a late answer. Only to Slack: the address comes out of a request."""
    if not url.startswith(settings.SLACK_RESPONSE_URL):
        logger.warning("a late answer was not sent: its address is not Slack's")
        return False
    try:
        sent = WebhookClient(url, timeout=TIMEOUT_SECONDS).send(text=text, response_type="in_channel")
    except (SlackClientError, OSError) as error:
        logger.warning("a late answer was not sent", extra={"why": str(error)})
        return False
    return int(sent.status_code) == 200
