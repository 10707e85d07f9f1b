"""The commands on rollouts: rollout start, status, pause, resume and abort, and the simulation before them."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import wraps

from mirroring.chatops.act import Act, ActFailed, Answer, Caller, always
from mirroring.chatops.flag_acts import overrides, why_and_overrides
from mirroring.models import Rollout
from mirroring.rollout import controller, describing
from mirroring.rollout.environments import EnvironmentRefused
from mirroring.rollout.rolling_back import RolloutRefused, utc_now
from mirroring.rollout.simulate import arms, load, report
from mirroring.rollout.steps import BadSteps, duration
from mirroring.stack.errors import StackError
from mirroring.tracker.connection import connect
from mirroring.tracker.simulated import ARMS

Run = Callable[[Namespace, Caller], Answer]


def _refusable(run: Run) -> Run:
    @wraps(run)
    def refusable(options: Namespace, caller: Caller) -> Answer:
        try:
            return run(options, caller)
        except (RolloutRefused, BadSteps, StackError, EnvironmentRefused) as error:
            raise ActFailed(str(error)) from error

    return refusable


def _answer(rollout: Rollout, *, flags: tuple[str, ...] = ()) -> Answer:
    return Answer(describing.as_text(rollout, now=utc_now()), describing.as_json(rollout), flags=flags)


@_refusable
def start(options: Namespace, caller: Caller) -> Answer:
    """Begin a guarded rollout."""
    wanted = controller.Wanted(
        steps=tuple(step for step in options.steps.split(",") if step),
        interval=duration(options.interval),
        shadow=options.shadow,
        overrides=overrides(options),
    )
    rollout = controller.start(options.name, wanted, by=caller.by, now=utc_now())
    return _answer(rollout, flags=(rollout.flag,))


@_refusable
def status(options: Namespace, caller: Caller) -> Answer:
    """Show where a rollout stands."""
    rollout = controller.latest(options.name)
    if rollout is None:
        return Answer(f"There has been no rollout of {options.name}.", None)
    return _answer(rollout)


@_refusable
def pause(options: Namespace, caller: Caller) -> Answer:
    """Take no further step."""
    return _answer(controller.pause(options.name, by=caller.by, why=options.why))


@_refusable
def resume(options: Namespace, caller: Caller) -> Answer:
    """Go on."""
    return _answer(controller.resume(options.name, by=caller.by, why=options.why))


@_refusable
def abort(options: Namespace, caller: Caller) -> Answer:
    """Turn the flag off and end its rollout."""
    rollout = controller.abort(options.name, by=caller.by, why=options.why, tracker=connect())
    return _answer(rollout, flags=(rollout.flag,))


@_refusable
def simulate(options: Namespace, caller: Caller) -> Answer:
    """Run the scheduler in a world of its own, with the flag off and on."""
    given = {name: getattr(options, name) for name in _LOAD if getattr(options, name) is not None}
    made = load.Load(settings=load.SLOW_QUEUE)
    made = replace(load.recorded(made) if options.recorded else made, **given)
    simulation = arms.simulate(options.name, made, arm=options.arm)
    return Answer(report.as_text(simulation), report.as_json(simulation), ok=not simulation.bad)


_LOAD = {
    "mirrors": int,
    "capacity": int,
    "seconds": int,
    "broker_delay": float,
    "job_seconds": float,
    "import_seconds": float,
    "killed": float,
    "seed": int,
}


def _name(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")


def _name_and_why(parser: ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, for the history")


def _start_arguments(parser: ArgumentParser) -> None:
    _name(parser)
    parser.add_argument(
        "--steps", default="", metavar="A,B,...", help="percentages, or environments and, last, here"
    )
    parser.add_argument("--interval", default="15m", help="how long each step lasts at least (default: 15m)")
    parser.add_argument("--shadow", action="store_true", help="judge and report, change nothing")
    why_and_overrides(parser)


def _simulate_arguments(parser: ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("--arm", default=arms.PRODUCT, choices=sorted(ARMS), help="the tracker to try")
    parser.add_argument("--recorded", action="store_true", help="the load that this service has had")
    for name, kind in _LOAD.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N")


ACTS = (
    Act(
        ("feature", "rollout", "start"),
        "Turn a flag on step by step, guarded.",
        start,
        _start_arguments,
        changes=True,
    ),
    Act(("feature", "rollout", "status"), "Show where a rollout stands.", status, _name),
    Act(
        ("feature", "rollout", "pause"),
        "Take no further step.",
        pause,
        _name_and_why,
        changes=True,
        calms=always,
    ),
    Act(("feature", "rollout", "resume"), "Go on after a pause.", resume, _name_and_why, changes=True),
    Act(
        ("feature", "rollout", "abort"),
        "Turn the flag off, at once.",
        abort,
        _name_and_why,
        changes=True,
        calms=always,
    ),
    Act(
        ("feature", "simulate"),
        "Tell what turning a flag on would do.",
        simulate,
        _simulate_arguments,
    ),
)
