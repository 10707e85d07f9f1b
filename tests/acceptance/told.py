"""What the acceptance commands share: a journal for who watches, and the way from a run to its last line."""

import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from tests.acceptance.journal import Journal
from tests.acceptance.plan import Failed
from tests.verify.verdict import Verdict


class Told(Journal):
    """A journal that is also read by whoever watches."""

    def note(self, event: str, text: str = "", **fields: object) -> None:
        """Write one event, and print its text."""
        super().note(event, text, **fields)
        if text:
            print(f"{self.seconds():6.1f} s  {text}", flush=True)


def run_and_judge(
    name: str,
    folder: Path,
    *,
    run: Callable[[Journal], None],
    judge: Callable[[Path], Verdict],
    remove: Callable[[Path], None] | None,
) -> int:
    """Run, judge, print one line and return the exit code. The evidence of a good run is removed by `remove`."""
    signal.signal(signal.SIGTERM, _leave)
    journal = Told(folder / "events.jsonl")
    try:
        run(journal)
        verdict = judge(folder)
        line, good = verdict.line(), verdict.ok
        for problem in verdict.problems:
            print(f"  {problem}")
    except Failed as error:
        line, good = f"{name} FAILED: {' '.join(str(error).split())}", False
    except KeyboardInterrupt:
        line, good = f"{name} FAILED: interrupted", False
    except Exception as error:
        # A verifier that breaks on what it reads has judged nothing; the evidence is kept for it.
        traceback.print_exc()
        line, good = f"{name} FAILED: {type(error).__name__}: {error}", False
    finally:
        journal.close()
    if good and remove:
        remove(folder)
    else:
        print(f"evidence: {folder}")
    print(line, flush=True)
    return 0 if good else 1


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
