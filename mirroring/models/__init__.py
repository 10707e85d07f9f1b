"""The truth: one model, or one pair that cannot be told apart, in each file."""

from mirroring.flags.models import Flag
from mirroring.models.api_token import ApiToken
from mirroring.models.attempt import ImportAttempt
from mirroring.models.change_freeze import ChangeFreeze
from mirroring.models.credential import Credential, CredentialKind, Expiry
from mirroring.models.flag_change import FlagChange
from mirroring.models.group import Group, GroupToken
from mirroring.models.host import Host
from mirroring.models.import_state import Claim, ImportState
from mirroring.models.late_answer import LateAnswer
from mirroring.models.metric_sample import MetricSample
from mirroring.models.mirror import Mirror, OnDivergence, RefSelection
from mirroring.models.relocation import Decision, Relocation
from mirroring.models.rollout import PlanTick, Rollout, RolloutEvent, RolloutState
from mirroring.models.scheduling_settings import SchedulingSettings
from mirroring.models.slack_request import SlackRequest

__all__ = [
    "ApiToken",
    "ChangeFreeze",
    "Claim",
    "Credential",
    "CredentialKind",
    "Decision",
    "Expiry",
    "Flag",
    "FlagChange",
    "Group",
    "GroupToken",
    "Host",
    "ImportAttempt",
    "ImportState",
    "LateAnswer",
    "MetricSample",
    "Mirror",
    "OnDivergence",
    "PlanTick",
    "RefSelection",
    "Relocation",
    "Rollout",
    "RolloutEvent",
    "RolloutState",
    "SchedulingSettings",
    "SlackRequest",
]
