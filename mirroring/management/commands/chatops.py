"""`manage.py chatops run ...`: the grammar of ChatOps from a shell, in every environment it names."""

import argparse

from django.core.management.base import CommandParser

from mirroring.chatops import grammar, running, telling
from mirroring.chatops.act import Caller
from mirroring.flags.changes import Origin
from mirroring.management.base import ActCommand, Options
from mirroring.management.failures import Failed
from mirroring.management.person import who


class Command(ActCommand):
    """The one act: run."""

    help = "Run a ChatOps command, as in: chatops run feature set NAME true --dev --staging"

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the act. What follows it belongs to the grammar."""
        act = self.acts(parser)(
            "run", self.run_words, "Run one command; without an environment, in production."
        )
        act.add_argument(
            "words", nargs=argparse.REMAINDER, metavar="...", help="for example: feature list --dev"
        )

    def run_words(self, options: Options) -> None:
        """Run it; exit with 1 if any environment refused."""
        words = list(options["words"])
        options["json"] = options["json"] or "--json" in words
        try:
            found = running.run(
                [word for word in words if word != "--json"], caller=Caller(who(), Origin.CHATOPS)
            )
        except grammar.HelpAsked as help_asked:
            self.stdout.write(str(help_asked))
            return
        except grammar.Usage as usage:
            self.stderr.write(str(usage))
            raise SystemExit(2) from None
        text = running.text_of(found)
        telling.tell_results(f"{who()} from the shell: `{' '.join(words)}`\n```{text}```", found)
        if not all(result.answer.ok for result in found) and not options["json"]:
            raise Failed(text)
        self.show([result.as_json() for result in found], text, options)
        if not all(result.answer.ok for result in found):
            raise SystemExit(1)
