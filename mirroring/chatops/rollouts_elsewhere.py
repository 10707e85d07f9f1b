"""What a rollout asks of ChatOps: the other environments, and somebody to tell."""

from datetime import timedelta
from typing import Any

from mirroring.announce import post
from mirroring.chatops import configuration, environments
from mirroring.flags import clock, registry
from mirroring.models import RolloutState
from mirroring.rollout import announcing
from mirroring.rollout import environments as wanted
from mirroring.rollout import plan as planning
from mirroring.rollout.announcing import Announcement


class OverTheApi:
    """Rollouts in the environments of the ChatOps file, by the same commands that people type."""

    def names(self) -> list[str]:
        """Return the environments before this one."""
        known = [name for name in configuration.current().reachable if not environments.is_here(name)]
        order = list(configuration.current().names)
        here = next((at for at, name in enumerate(order) if environments.is_here(name)), len(order))
        return [name for name in known if order.index(name) < here]

    def start(self, environment: str, flag: str, *, interval: timedelta, mark: str) -> None:
        """Begin there with one step. It has begun already where the answer to that was lost."""
        if self.state(environment, flag, mark=mark) is not None:
            return
        span = f"{max(1, int(interval.total_seconds()))}s"
        words = ["feature", "rollout", "start", flag, "--steps", "here", "--interval", span]
        self._run(environment, words, by=mark)

    def state(self, environment: str, flag: str, *, mark: str) -> RolloutState | None:
        """Return where it stands there."""
        found = self._run(environment, ["feature", "rollout", "status", flag], by="guarded rollout")
        data = found.get("data") or {}
        ours = str(data.get("started_by")).startswith(f"{mark} (token ")
        return RolloutState(data["state"]) if ours else None

    def turn_off(self, environment: str, flag: str, *, mark: str, by: str, why: str) -> None:
        """Turn it off there. What somebody has begun there since is left alone."""
        if self.state(environment, flag, mark=mark) is not None:
            self._run(environment, ["feature", "rollout", "abort", flag, "--why", why], by=by)

    def _run(self, environment: str, words: list[str], *, by: str) -> dict[str, Any]:
        try:
            found = environments.run(environment, words, by=by)
        except (environments.EnvironmentDown, environments.NoEnvironment) as error:
            raise wanted.EnvironmentRefused(f"{environment}: {error}") from None
        if not found.get("ok", True):
            raise wanted.EnvironmentRefused(f"{environment}: {found.get('text')}")
        return found


def tell_team(announcement: Announcement) -> None:
    """Post to the channel of the flag's team and of production; what is expected when also to that of support.

    Having told that is an item of the plan, and Slack's stamp of the message the evidence.
    """
    tells_when = announcement.kind in {announcing.AHEAD, announcing.BEGUN}
    tells_when &= not announcement.data.get("shadow")
    slack = configuration.current().slack
    channels = {
        "announced_team": registry.definition(announcement.flag).owner.channel,
        "announced_production": slack.production_channel,
        "announced_support": slack.support_channel if tells_when else "",
    }
    stamps = {channel: post(channel, announcement.text) for channel in {*channels.values()} if channel}
    for item, channel in channels.items():
        if tells_when and stamps.get(channel):
            evidence = f"{announcement.data['expected']} told in {channel}, message {stamps[channel]}"
            by = str(announcement.data["by"])
            planning.tick(announcement.flag, item, by=by, evidence=evidence, now=clock.present())


def register() -> None:
    """Let rollouts reach the other environments and the team. Called when Django starts."""
    wanted.register(OverTheApi)
    announcing.subscribe(tell_team)
