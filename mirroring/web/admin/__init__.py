"""The admin: everything in it is registered here, by name; nothing registers itself."""

from django.contrib.auth.models import User

from mirroring.models import Credential, Flag, Group, Host, ImportAttempt, Mirror, Rollout, SchedulingSettings
from mirroring.web.admin.accounts import AccountAdmin
from mirroring.web.admin.attempts import AttemptAdmin
from mirroring.web.admin.credentials import CredentialAdmin
from mirroring.web.admin.flags import FlagAdmin
from mirroring.web.admin.groups import GroupAdmin
from mirroring.web.admin.hosts import HostAdmin
from mirroring.web.admin.mirrors import MirrorAdmin
from mirroring.web.admin.rollouts import RolloutAdmin
from mirroring.web.admin.scheduling import SchedulingSettingsAdmin
from mirroring.web.admin.site import MirroringAdminSite

__all__ = ["site"]

site = MirroringAdminSite(name="admin")
site.disable_action("delete_selected")  # What is deleted here is deleted one at a time, after a look at it.
site.register(Mirror, MirrorAdmin)
site.register(Group, GroupAdmin)
site.register(Host, HostAdmin)
site.register(Credential, CredentialAdmin)
site.register(ImportAttempt, AttemptAdmin)
site.register(SchedulingSettings, SchedulingSettingsAdmin)
site.register(Flag, FlagAdmin)
site.register(Rollout, RolloutAdmin)
site.register(User, AccountAdmin)
