"""The gates that look beyond this deployment's database: at its workers, and at staging."""

from django.conf import settings

from mirroring.chatops import configuration, environments
from mirroring.flags import gates
from mirroring.flags.gates import Finding, Proposal
from mirroring.tracker.connection import connect
from mirroring.tracker.job_tracker import TrackerDown

REHEARSED_IN = "staging"
REHEARSED_FIRST = ("canary", "production")


def deployed(proposal: Proposal) -> Finding:
    """Refuse while a live worker runs a build that does not know the flag."""
    name = proposal.definition.name
    try:
        workers = connect().workers()
    except TrackerDown:
        text = "whether every worker runs a build with this flag is not known: Redis does not answer"
        return Finding(passed=False, checked=text)
    older = sorted(worker.name for worker in workers if worker.flags and name not in worker.flags)
    if older:
        text = f"not deployed everywhere: {', '.join(older)} run a build without this flag"
        return Finding(passed=False, checked=text)
    return Finding(passed=True, checked=f"{len(workers)} live processes, none of a build without this flag")


def staging(proposal: Proposal) -> Finding:
    """Refuse in production what is off in staging."""
    here = settings.ENVIRONMENT
    if here not in REHEARSED_FIRST or REHEARSED_IN not in configuration.current().environments:
        return Finding(
            passed=True, checked=f"nothing to compare {here} with: no staging is configured for it"
        )
    try:
        found = environments.flag(REHEARSED_IN, proposal.definition.name)
    except environments.EnvironmentDown as error:
        return Finding(passed=False, checked=f"what it is in staging is not known: {error}")
    state = str(found.get("state", "off"))
    return Finding(passed=state != "off", checked=f"in staging it is {state}")


def register() -> None:
    """Put these gates beside those of the flags. Called when Django starts."""
    gates.register("deployed", deployed)
    gates.register("staging", staging)
