"""`manage.py waffle_delete`: out of service."""

from mirroring.management.waffle import OutOfService as Command

__all__ = ["Command"]
