"""A slash command from Slack: is it Slack's, is it new, may this person do that here; then run it and tell.

Slack waits three seconds. What takes longer is answered at once and finished over the response URL.
"""

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from slack_sdk.signature import Clock, SignatureVerifier

from mirroring import announce
from mirroring.chatops import configuration, grammar, roles, running, telling
from mirroring.chatops.act import Caller
from mirroring.chatops.acts import EVERY
from mirroring.chatops.roles import Place
from mirroring.chatops.running import Result
from mirroring.flags import clock
from mirroring.flags.changes import Origin
from mirroring.models.late_answer import LateAnswer
from mirroring.models.slack_request import SlackRequest

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
"""Slack gives up after three."""

HELD = timedelta(seconds=20)
"""How long after its process was last heard of an answer that is owed counts as lost."""

_pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="chatops")


@dataclass(frozen=True)
class Command:
    """One slash command, as Slack sends it."""

    user: str
    user_name: str
    channel: str
    text: str
    response_url: str

    @classmethod
    def of(cls, form: Mapping[str, Any]) -> "Command":
        """Read the fields of the form."""
        names = ("user_id", "user_name", "channel_id", "text", "response_url")
        return cls(*(str(form.get(name, "")) for name in names))


class _At(Clock):
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> float:
        return self._now.timestamp()


def is_from_slack(body: bytes, headers: Mapping[str, str], *, now: datetime) -> bool:
    """Say whether Slack signed this, within five minutes of now."""
    if not settings.SLACK_SIGNING_SECRET:
        return False
    try:
        verifier = SignatureVerifier(settings.SLACK_SIGNING_SECRET, clock=_At(now))
        return bool(verifier.is_valid_request(body, headers))
    except (ValueError, TypeError, UnicodeDecodeError):
        return False


def is_new(headers: Mapping[str, str], *, now: datetime) -> bool:
    """Say whether this request comes for the first time. One that was overheard cannot be sent again."""
    return SlackRequest.take(headers["X-Slack-Signature"], now=now)


def answer(command: Command) -> dict[str, str]:
    """Run a command and return what Slack is to show, now or, for what takes long, later."""
    try:
        words = grammar.split(command.text)
        words = words[1:] if words[:1] == ["run"] else words
        environments, rest = grammar.targets(words)
        act, options = grammar.parse(rest, EVERY)
    except (grammar.Usage, grammar.HelpAsked) as said:
        return _privately(f"```{said}```")
    if reason := roles.refusal(act, options, environments, Place(command.user, command.channel)):
        return _privately(reason)
    future = _pool.submit(_run, words, command)
    try:
        return _openly(_shown(command, future.result(timeout=PATIENCE_SECONDS)))
    except NotYet:
        now = clock.present()
        owed = announce.owe(command.response_url, _lost(command), now=now, until=now + HELD)
        threading.Thread(target=_see_through, args=(command, future, owed), daemon=True).start()
        return _openly(f"`{command.text}` is under way: the answer follows here.")


def _run(words: list[str], command: Command) -> list[Result]:
    caller = Caller(by=f"slack:{command.user} {command.user_name}".strip(), origin=Origin.CHATOPS)
    try:
        results = running.run(words, caller=caller)
        telling.tell_results(_shown(command, results), results, but_not=command.channel)
        return results
    finally:
        connection.close()  # This thread is not one of Django's requests, which close theirs.


def _shown(command: Command, results: list[Result]) -> str:
    return f"<@{command.user}> `{command.text}`\n```{announce.shortened(running.text_of(results))}```"


def _lost(command: Command) -> str:
    return (
        f"<@{command.user}> `{command.text}` was cut off: the process that ran it ended, and not all of it may be "
        "done. Type it again: that is safe, what is done already stays as it is. (`feature audit` tells what was.)"
    )


def _see_through(command: Command, future: "Future[list[Result]]", owed: LateAnswer) -> None:
    """Wait for the end of a command and send the answer; until then keep others from sending that it was lost."""
    try:
        while not wait([future], timeout=HELD.total_seconds() / 3).done:
            owed.put_off(clock.present() + HELD)
        if error := future.exception():
            logger.error("a command from Slack broke", exc_info=error)
            text = f"`{command.text}` broke: the log of the web process says why. `feature audit` tells what was done."
        else:
            text = _shown(command, future.result())
        announce.settle(owed, text, now=clock.present())
    finally:
        connection.close()


def takes_commands() -> bool:
    """Say whether Slack is configured here."""
    return bool(settings.SLACK_SIGNING_SECRET) and bool(configuration.current().slack.users)


def _privately(text: str) -> dict[str, str]:
    return {"response_type": "ephemeral", "text": text}


def _openly(text: str) -> dict[str, str]:
    return {"response_type": "in_channel", "text": text}
