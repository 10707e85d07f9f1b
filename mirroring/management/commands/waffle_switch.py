"""`manage.py waffle_switch`: out of service."""

from mirroring.management.waffle import OutOfService as Command

__all__ = ["Command"]
