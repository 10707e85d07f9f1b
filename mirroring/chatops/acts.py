"""Every command there is."""

from mirroring.chatops import deploy_acts, flag_acts, plan_acts, rollout_acts
from mirroring.chatops.act import Act

EVERY: tuple[Act, ...] = (*flag_acts.ACTS, *deploy_acts.ACTS, *rollout_acts.ACTS, *plan_acts.ACTS)
