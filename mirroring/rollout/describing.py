"""A rollout in words and as data: the same for the shell, Slack, the API and the admin."""

from datetime import datetime
from typing import Any

from mirroring.models import Rollout
from mirroring.rollout import stepping

SHOWN_EVENTS = 12


def as_json(rollout: Rollout) -> dict[str, Any]:
    """Return everything that is known of a rollout."""
    times = ("started_at", "step_started_at", "driven_at", "judged_at", "ended_at", "breach_at", "off_at")
    return {
        "id": rollout.pk,
        "flag": rollout.flag,
        "state": str(rollout.state),
        "shadow": rollout.shadow,
        "steps": [str(stepping.step_of(rollout, number)) for number in range(len(rollout.steps))],
        "step": rollout.step,
        "interval_seconds": rollout.interval_seconds,
        "started_by": rollout.started_by,
        "why": rollout.why,
        "lease_ends_at": rollout.leased_until if rollout.active else None,
        "confirmed_at": rollout.confirmed_at,
        "rollback_seconds": rollout.rollback_seconds,
        "lagging": rollout.lagging,
        "arms": rollout.arm_sizes,
        "guards": rollout.judgements,
        **{name: getattr(rollout, name) for name in times},
        "events": [
            {"at": event.at, "kind": event.kind, "text": event.text} for event in rollout.events.all()
        ],
    }


def as_text(rollout: Rollout, *, now: datetime) -> str:
    """Return what a person wants to know first, first."""
    shadow = "shadow rollout" if rollout.shadow else "rollout"
    lines = [f"{shadow} of {rollout.flag}: {rollout.state}{f' ({rollout.why})' if rollout.why else ''}"]
    if rollout.active:
        step = stepping.step_of(rollout, rollout.step)
        since = (now - rollout.step_started_at).total_seconds()
        lines.append(
            f"step {rollout.step + 1} of {len(rollout.steps)}: {step}, {since:.0f} of {rollout.interval_seconds} s"
        )
        if rollout.arm_sizes:
            lines.append("{on} mirrors have it, {off} have it not".format_map(rollout.arm_sizes))
        if rollout.leased_until:
            lines.append(f"on is a lease until {rollout.leased_until:%H:%M:%S} UTC unless it is renewed")
    if rollout.rollback_seconds is not None:
        lines.append(f"seen off by every live process after {rollout.rollback_seconds:.1f} s")
    if rollout.lagging:
        lines.append(f"not yet seen off by: {', '.join(rollout.lagging)}")
    lines += [f"  {each['verdict']:12} {each['guard']}: {each['why']}" for each in rollout.judgements]
    events = list(rollout.events.all())[-SHOWN_EVENTS:]
    lines += [f"  {event.at:%H:%M:%S} {event.kind}: {event.text}" for event in events]
    return "\n".join(lines)
