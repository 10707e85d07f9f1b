"""Who may run what from where in Slack. By ids of users and channels, which nobody can choose."""

from argparse import Namespace
from dataclasses import dataclass

from mirroring.chatops import configuration
from mirroring.chatops.act import Act

PRODUCTION = ("canary", "production")
_RANK = {role: rank for rank, role in enumerate(configuration.ROLES)}


@dataclass(frozen=True)
class Place:
    """Where in Slack a command came from, and from whom."""

    user: str
    channel: str


def refusal(act: Act, options: Namespace, environments: list[str], place: Place) -> str:
    """Return why a command is not run, and what to do; empty if it may be."""
    rules = configuration.current().slack
    changes = act.writes(options)
    role = rules.users.get(place.user, rules.everyone)
    wanted = "operator" if changes else "viewer"
    if _RANK[role] < _RANK[wanted]:
        return f"Your role here is {role}, and this takes {wanted}: ask for it in the file MIRRORING_CHATOPS names"
    if rules.channels and place.channel not in {*rules.channels, rules.production_channel}:
        return "No commands are taken in this channel: use one of those that are configured"
    if not changes or act.everywhere or not {*environments} & {*PRODUCTION}:
        return ""
    if not rules.production_channel:
        return "No production channel is configured, so production is not changed from Slack"
    if place.channel != rules.production_channel:
        return f"Production is changed from <#{rules.production_channel}> only, where everybody can see it"
    return ""
