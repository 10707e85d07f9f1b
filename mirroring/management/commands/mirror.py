"""`manage.py mirror`: add, show, change and remove mirrors."""

from pathlib import Path

from django.core.management.base import CommandParser

from mirroring import catalog
from mirroring.catalog.errors import BadList
from mirroring.management import arguments
from mirroring.management.base import ActCommand, Options
from mirroring.management.describe import (
    as_json,
    as_json_whole,
    explained,
    mirror_card,
    mirror_table,
    rendered,
)
from mirroring.management.failures import Failed
from mirroring.management.list_files import complaint, read_list_file
from mirroring.management.outlook import explanation, obstacle, outlook
from mirroring.management.person import who
from mirroring.management.selection import select
from mirroring.models import Credential, Mirror, OnDivergence, SchedulingSettings
from mirroring.rules.words import counted
from mirroring.tasks import wake_scheduler
from mirroring.tracker.connection import present

SKIPPED_SHOWN = 20
"""Lines: a list that is imported again each night is skipped as a whole."""


class Command(ActCommand):
    """The acts on mirrors."""

    help = "Add, show, change and remove mirrors."

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the acts."""
        act = self.acts(parser)
        arguments.for_add(act("add", self.add, "Mirror a repository."))
        arguments.for_list(act("list", self.show_list, "List mirrors, with their ages."))
        arguments.for_import(act("import", self.import_list, "Add a list: one URL a line, CSV or JSON."))
        arguments.for_adopt(act("adopt", self.adopt, "Make a bare repository on this machine a mirror."))
        arguments.for_adopt_list(act("adopt-list", self.adopt_list, "Adopt a list: PATH URL, CSV or JSON."))
        arguments.for_edit(act("edit", self.edit, "Change what a mirror mirrors, or its name."))
        arguments.for_pause(act("pause", self.pause, "Import a mirror no more until it is resumed."))
        arguments.for_explain(act("explain", self.explain, "Say what happens to a mirror next, and why."))
        arguments.for_restore(act("restore", self.restore, "Bring a removed mirror back."))
        arguments.for_move(act("move", self.move, "Decide about the URL that a mirror's upstream moved to."))
        days = catalog.KEEP_REMOVED.days
        for name, run, text in (
            ("show", self.show_one, "Show everything about a mirror."),
            ("sync", self.sync, "Import a mirror now, before every backlog."),
            ("cancel", self.cancel, "Stop the import in flight; the mirror stays due."),
            ("resume", self.resume, "Take a paused mirror up again."),
            ("retry", self.retry, "Try a mirror again that failed too often."),
            ("remove", self.remove, f"Remove a mirror; for {days} days it can be restored."),
        ):
            arguments.for_one(act(name, run, text))

    def add(self, options: Options) -> None:
        """Mirror a repository."""
        mirror = catalog.add(_wanted(options), now=present(), wake=wake_scheduler)
        self._print(mirror, f"Added {mirror.path}, which mirrors {mirror.url}.", options, clone=True)

    def adopt(self, options: Options) -> None:
        """Make a bare repository on this machine a mirror."""
        adopted = catalog.adopt(Path(options["path"]), _wanted(options), due=present(), wake=wake_scheduler)
        mirror = adopted.mirror
        done = f"Adopted {counted(adopted.refs, 'ref')} as {mirror.path}, which mirrors {mirror.url}."
        if adopted.refs_left_out:
            done += f" Left out, as it does not select them: {counted(adopted.refs_left_out, 'ref')}."
        self._print(mirror, f"{done} The original is as it was.", options, clone=True)

    def adopt_list(self, options: Options) -> None:
        """Adopt a list of repositories."""
        try:
            adoptions = catalog.read_adoptions(
                read_list_file(options["file"]),
                group=options["group"],
                group_from_url=options["group_from_url"],
            )
        except BadList as error:
            raise Failed(complaint(options["file"], error)) from None
        over = options["over"]
        if over is None:
            over = SchedulingSettings.current().cadence.min_delay
        mirrors, refused = [], 0
        for each in catalog.adopt_all(adoptions, now=present(), over=over, wake=wake_scheduler):
            if each.adopted:
                mirrors.append(each.adopted.mirror)
            refused += bool(each.refusal)
            if each.refusal:
                self.note(f"{options['file']}:{each.line}: {each.path} was not adopted: {each.refusal}")
        skipped = len(adoptions) - len(mirrors) - refused
        done = counted(len(mirrors), "repository")
        text = f"Adopted {done}, skipped {skipped} that are mirrored already, refused {refused}."
        self.show([as_json(mirror) for mirror in mirrors], text, options)
        if refused:
            raise Failed(
                f"Not adopted, and as before: {counted(refused, 'repository')}. See to each, run it again"
            )

    def show_list(self, options: Options) -> None:
        """List mirrors."""
        now, configured = present(), SchedulingSettings.current()
        narrowed = [options[name] for name in ("status", "group", "credential")]
        mirrors = select(*narrowed, now=now, configured=configured)
        text = "No such mirrors." if any(narrowed) else "No mirrors. Add one: manage.py mirror add URL"
        if mirrors:
            text = rendered(mirror_table(mirrors, now=now, configured=configured), out=self.stdout)
        self.show([as_json(mirror) for mirror in mirrors], text, options)

    def show_one(self, options: Options) -> None:
        """Show everything about a mirror."""
        mirror = _find(options)
        card = mirror_card(mirror, now=present(), configured=SchedulingSettings.current())
        self.show(as_json_whole(mirror), rendered(card, out=self.stdout), options)

    def explain(self, options: Options) -> None:
        """Say what happens to a mirror next, and why."""
        mirrors = Mirror.objects.filter(deleted_at=None) if options["all"] else [_find(options)]
        told = [(mirror, explanation(mirror, now=present())) for mirror in mirrors]
        lines = [line for mirror, why in told for line in explained(mirror, str(why["explanation"]))]
        data = [as_json(mirror) | why for mirror, why in told]
        self.show(data if options["all"] else data[0], "\n".join(lines), options)

    def sync(self, options: Options) -> None:
        """Import a mirror now."""
        mirror = catalog.sync(_find(options), now=present(), wake=wake_scheduler)
        self._print(mirror, f"Asked for an import of {mirror.path}.", options)

    def edit(self, options: Options) -> None:
        """Change what a mirror mirrors, or its name."""
        patterns, selection = options["pattern"], options["refs"]
        refs = catalog.check_refs(selection, patterns) if patterns or selection else None
        fields = {field: options[field] for field in ("url", "name", "group", "on_divergence")}
        edited = catalog.edit(
            _find(options),
            now=present(),
            wake=wake_scheduler,
            refs=refs,
            credential=_credential(options),
            **fields,
        )
        what = ", ".join(field.removeprefix("ref_") for field in edited.changed)
        text = (
            f"Changed {what} of {edited.mirror.path}."
            if what
            else f"{edited.mirror.path} is like that already."
        )
        self._print(edited.mirror, text, options, clone=bool({"name", "group"} & set(edited.changed)))

    def pause(self, options: Options) -> None:
        """Import a mirror no more until it is resumed."""
        mirror = catalog.pause(_find(options), now=present(), reason=options["reason"])
        self._print(mirror, f"Paused {mirror.path}.", options)

    def resume(self, options: Options) -> None:
        """Take a paused mirror up again."""
        mirror = catalog.resume(_find(options), now=present(), wake=wake_scheduler)
        self._print(mirror, f"Resumed {mirror.path}.", options)

    def retry(self, options: Options) -> None:
        """Try a mirror again that failed too often."""
        mirror = catalog.retry(_find(options), now=present(), wake=wake_scheduler)
        self._print(mirror, f"{mirror.path} is tried again.", options)

    def move(self, options: Options) -> None:
        """Decide about the URL that the upstream redirects to."""
        now, mirror = present(), _find(options)
        if options["accept"]:
            mirror = catalog.accept_move(mirror, now=now, wake=wake_scheduler, by=who())
            self._print(mirror, f"{mirror.path} mirrors {mirror.url} now.", options)
        else:
            mirror = catalog.decline_move(mirror, now=now, by=who())
            self._print(mirror, f"{mirror.path} goes on with {mirror.url}.", options)

    def cancel(self, options: Options) -> None:
        """Stop the import in flight."""
        mirror = catalog.cancel(_find(options))
        self._print(mirror, f"Canceled the import of {mirror.path}.", options)

    def remove(self, options: Options) -> None:
        """Remove a mirror."""
        mirror = catalog.remove(_find(options), now=present())
        self._print(mirror, f"Removed {mirror.path}.", options)

    def restore(self, options: Options) -> None:
        """Bring a removed mirror back."""
        removed = catalog.find_removed(options["mirror"])
        mirror = catalog.restore(removed, now=present(), wake=wake_scheduler, name=options["new_name"])
        self._print(mirror, f"Restored {mirror.path}.", options, clone=True)

    def import_list(self, options: Options) -> None:
        """Add a list of mirrors."""
        try:
            wanted = catalog.read_list(
                read_list_file(options["file"]),
                group=options["group"],
                group_from_url=options["group_from_url"],
            )
            added = catalog.add_all(wanted, now=present(), wake=wake_scheduler)
        except BadList as error:
            raise Failed(complaint(options["file"], error)) from None
        for skipped in added.skipped[:SKIPPED_SHOWN]:
            self.note(f"{options['file']}:{skipped.line}: skipped {skipped.path}: {skipped.reason}")
        if len(added.skipped) > SKIPPED_SHOWN:
            self.note(f"Skipped beside these: {counted(len(added.skipped) - SKIPPED_SHOWN, 'line')}.")
        lines = [f"Added {counted(len(added.mirrors), 'mirror')}, skipped {len(added.skipped)}."]
        if added.mirrors:
            lines.append(f"{obstacle() or 'Their imports start as soon as slots are free'}.")
            lines.append("Watch them: manage.py mirror list")
        self.show([as_json(mirror) for mirror in added.mirrors], "\n".join(lines), options)

    def _print(self, mirror: Mirror, done: str, options: Options, *, clone: bool = False) -> None:
        """Print what was done, what happens next and, where it is new, how to clone."""
        lines = [done, f"{outlook(mirror, now=present())}."]
        if clone:
            lines.append(f"Clone it: git clone {mirror.clone_url}")
        self.show(as_json(mirror), "\n".join(lines), options)


def _wanted(options: Options) -> catalog.Wanted:
    return catalog.want(
        options["url"],
        group=options["group"] or "",
        name=options["name"] or "",
        refs=catalog.check_refs(options["refs"], options["pattern"]),
        on_divergence=options["on_divergence"] or OnDivergence.OVERWRITE,
        credential=catalog.find_credential(options["credential"]) if options["credential"] else None,
    )


def _find(options: Options) -> Mirror:
    return catalog.find(options["mirror"])


def _credential(options: Options) -> Credential | catalog.NoCredential | None:
    if options["no_credential"]:
        return catalog.NoCredential()
    return catalog.find_credential(options["credential"]) if options["credential"] else None
