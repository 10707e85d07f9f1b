"""Running one command line in every environment that it names."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.db import Error as DatabaseError

from mirroring.chatops import environments, grammar
from mirroring.chatops.act import ActFailed, Answer, Caller
from mirroring.chatops.acts import EVERY
from mirroring.flags.actors import UnknownActor
from mirroring.flags.changes import FlagRefused
from mirroring.flags.registry import UnknownFlag

REFUSALS = (
    ActFailed,
    FlagRefused,
    UnknownFlag,
    UnknownActor,
    environments.NoEnvironment,
    environments.EnvironmentDown,
)


@dataclass(frozen=True)
class Result:
    """What one environment answered; no name where the command is about all of them."""

    environment: str
    answer: Answer

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        answer = self.answer
        return {
            "environment": self.environment,
            "ok": answer.ok,
            "text": answer.whole_text,
            "data": answer.data,
        }


def run(words: Sequence[str], *, caller: Caller) -> list[Result]:
    """Run it everywhere it is to run; raise Usage or HelpAsked before anything is done.

    A change stops at the first environment that refuses it, and is refused as a whole where one is not configured.
    What turns something off goes everywhere at once all the same.
    """
    names, rest = grammar.targets(words)
    act, options = grammar.parse(rest, EVERY)
    if act.everywhere:
        return [Result("", here(rest, caller=caller))]
    if not act.stirs(options):
        return _at_once(names, rest, caller)
    missing = {name: why for name in names if (why := _missing(name))}
    if missing:
        other = f"Not done, because {next(iter(missing))} is not configured"
        return [Result(name, Answer(missing.get(name, other), ok=False)) for name in names]
    return _in_turn(names, rest, caller)


def _missing(name: str) -> str:
    """Return what to say of an environment that is not configured; empty if it is."""
    try:
        if not environments.is_here(name):
            environments.named(name)
    except environments.NoEnvironment as error:
        return str(error)
    return ""


def _at_once(names: Sequence[str], words: Sequence[str], caller: Caller) -> list[Result]:
    """Run it everywhere at the same time: none may stay on because another hangs.

    Here it runs in this thread, which has the connection to the database; the threads of the others need none.
    """
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        elsewhere = [name for name in names if not environments.is_here(name)]
        asked = {name: pool.submit(_in, name, words, caller) for name in elsewhere}
        answers = {name: _in(name, words, caller) for name in names if name not in asked}
        answers |= {name: future.result() for name, future in asked.items()}
    return [Result(name, answers[name]) for name in names]


def _in_turn(names: Sequence[str], words: Sequence[str], caller: Caller) -> list[Result]:
    """Run it in one environment after the other, up to the first that refuses."""
    results: list[Result] = []
    for name in names:
        refused = next((result.environment for result in results if not result.answer.ok), "")
        skipped = Answer(f"Not done, because {refused} refused", ok=False)
        results.append(Result(name, skipped if refused else _in(name, words, caller)))
    return results


def here(words: Sequence[str], *, caller: Caller) -> Answer:
    """Run it in this deployment; a refusal is an answer."""
    try:
        return grammar.run(words, EVERY, caller=caller)
    except REFUSALS as refused:
        return Answer(str(refused), ok=False)
    except DatabaseError as error:
        said = str(error).strip().partition("\n")[0]
        return Answer(f"Nothing was changed: the database does not take it ({said})", ok=False)


def _in(name: str, words: Sequence[str], caller: Caller) -> Answer:
    if environments.is_here(name):
        return here(words, caller=caller)
    try:
        said = environments.run(name, list(words), by=caller.by)
        return Answer(
            str(said["text"]), said.get("data"), ok=bool(said["ok"]), flags=tuple(said.get("flags", ()))
        )
    except environments.NoEnvironment as error:
        return Answer(str(error), ok=False)
    except environments.EnvironmentDown as error:
        return Answer(f"Nothing is known to be done: {error}", ok=False)
    except (KeyError, TypeError):
        return Answer("Nothing is known to be done: its answer is not one of this service", ok=False)


def text_of(results: Sequence[Result]) -> str:
    """Return what all environments answered, for a terminal or a chat."""
    return "\n".join(_labelled(result) for result in results)


def _labelled(result: Result) -> str:
    text = result.answer.whole_text
    if not result.environment:
        return text
    label = f"{result.environment}{'' if result.answer.ok else ': refused'}:"
    return f"{label}\n{text}" if "\n" in text else f"{label} {text}"
