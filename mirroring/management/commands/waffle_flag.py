"""`manage.py waffle_flag`: out of service."""

from mirroring.management.waffle import OutOfService as Command

__all__ = ["Command"]
