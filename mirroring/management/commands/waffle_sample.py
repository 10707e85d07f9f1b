"""`manage.py waffle_sample`: out of service."""

from mirroring.management.waffle import OutOfService as Command

__all__ = ["Command"]
