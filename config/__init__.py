"""Deployment: settings, the Celery application and its beat schedule, URLs."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
