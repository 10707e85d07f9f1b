"""Answers that Slack is still owed: kept, so that the end of the process that works on one does not lose it."""

from datetime import datetime, timedelta

from django.db import models

KEPT = timedelta(minutes=30)
"""As long as Slack takes an answer."""


class LateAnswer(models.Model):
    """What is to be said at an address, as far as it is known. Who works on it puts `due_at` off; then it is sent."""

    url = models.CharField(max_length=500)
    text = models.TextField()
    made_at = models.DateTimeField()
    due_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["sent_at", "due_at"], name="late_answer_owed")]

    def __str__(self) -> str:
        return f"{self.text[:60]} ({'sent' if self.sent_at else 'owed'})"

    def put_off(self, until: datetime) -> None:
        """Say that somebody works on it."""
        LateAnswer.objects.filter(pk=self.pk, sent_at=None).update(due_at=until)

    @classmethod
    def forget_old(cls, *, now: datetime) -> None:
        """Forget what nobody takes any more."""
        cls.objects.filter(made_at__lt=now - KEPT).delete()
