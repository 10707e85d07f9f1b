"""The Django application."""

from django.apps import AppConfig


class MirroringConfig(AppConfig):
    """Pull mirrors, their scheduler and its flags."""

    name = "mirroring"
    verbose_name = "Mirroring"

    def ready(self) -> None:
        """Register the system checks and the gates of flags; refuse definitions of flags that are wrong."""
        from mirroring import checks  # noqa: F401  (importing registers them)
        from mirroring.chatops import gates, plan_acts, rollouts_elsewhere, telling
        from mirroring.flags import clock, registry
        from mirroring.flags.changes import take_snapshots_from
        from mirroring.rollout import samples
        from mirroring.tracker.connection import SERVER_CLOCK

        clock.told_by(SERVER_CLOCK.now, known=SERVER_CLOCK.known)
        gates.register()
        rollouts_elsewhere.register()
        plan_acts.register()
        telling.register()
        take_snapshots_from(samples.snapshot)
        registry.definitions()
