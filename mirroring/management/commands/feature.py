"""`manage.py feature`: the commands on feature flags, in this deployment."""

from argparse import ArgumentParser, Namespace

from django.core.management.base import CommandParser

from mirroring.chatops import grammar
from mirroring.chatops.act import Act, Caller
from mirroring.chatops.acts import EVERY
from mirroring.flags.changes import Origin
from mirroring.management.base import ActCommand, Options
from mirroring.management.failures import Failed
from mirroring.management.person import who


class Command(ActCommand):
    """The acts on feature flags."""

    help = "Read and change feature flags. Every running process sees a change at its next read."

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the acts: those of the grammar that begin with `feature`."""
        grammar.add_acts(
            parser, [act for act in EVERY if act.words[0] == "feature"], depth=1, finish=self._finish
        )

    def _finish(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=self.run_act)

    def run_act(self, options: Options) -> None:
        """Run one act here; say beside the result what is worth knowing."""
        act: Act = options["act"]
        answer = act.run(Namespace(**options), Caller(by=who(), origin=Origin.CLI))
        if not answer.ok:
            if options["json"]:
                self.show(answer.data, answer.text, options)
                raise SystemExit(1)
            raise Failed(answer.whole_text)
        for note in answer.notes:
            self.note(note)
        self.show(answer.data, answer.text, options)
