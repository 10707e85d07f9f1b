"""`manage.py settings`: what may be tuned while the system runs."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.db import models, transaction
from rich import box
from rich.table import Table

from mirroring.management.base import ActCommand, Options
from mirroring.management.describe import plain, rendered
from mirroring.management.failures import Failed
from mirroring.models import SchedulingSettings
from mirroring.models.scheduling_settings import FROM_THE_NEXT_IMPORT
from mirroring.tasks import wake_scheduler

WORDS = {
    "true": "True",
    "false": "False",
}  # The spelling that the other commands take, in that of the form field.


class Command(ActCommand):
    """The acts on settings."""

    help = "Read and change what may be tuned while the system runs: capacity, delays, leases, ticks."

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the acts."""
        act = self.acts(parser)
        act("list", self.show_list, "List the settings.")
        act("get", self.get, "Show one setting.").add_argument("name", metavar="NAME")
        change = act(
            "set", self.set, "Change settings, all or none; every process uses them from its next run."
        )
        change.add_argument("pairs", metavar="NAME VALUE", nargs="+")

    def show_list(self, options: Options) -> None:
        """List the settings."""
        row = SchedulingSettings.current()
        shown = [_as_json(row, field) for field in _fields().values()]
        table = Table("setting", "value", "default", "meaning", box=box.SIMPLE_HEAD, pad_edge=False)
        for setting in shown:
            table.add_row(*(plain(_word(cell)) for cell in setting.values()))
        self.show(shown, rendered(table, out=self.stdout), options)

    def get(self, options: Options) -> None:
        """Show one setting."""
        setting = _as_json(SchedulingSettings.current(), _named(options["name"]))
        self.show(setting, _word(setting["value"]), options)

    def set(self, options: Options) -> None:
        """Change settings together: some are bounds of each other, and only the last state has to make sense."""
        pairs = _pairs(options["pairs"])
        row = _change(pairs)
        settings = [_as_json(row, field) for field in pairs]
        lines = [f"{setting['name']} is now {_word(setting['value'])}." for setting in settings]
        if any(FROM_THE_NEXT_IMPORT in str(setting["meaning"]) for setting in settings):
            lines.append(f"{FROM_THE_NEXT_IMPORT} To have one imported now: manage.py mirror sync NAME")
        self.show(settings[0] if len(settings) == 1 else settings, "\n".join(lines), options)


def _pairs(words: list[str]) -> "dict[models.Field[Any, Any], str]":
    if len(words) % 2:
        raise Failed(f"{words[-1]!r} has no value beside it: write NAME VALUE, as often as you like")
    return {_named(name): text for name, text in zip(words[::2], words[1::2], strict=True)}


def _change(pairs: "dict[models.Field[Any, Any], str]") -> SchedulingSettings:
    """Write the settings, if the whole row is valid with them."""
    with transaction.atomic():
        # Locked and written by these fields only, so that two changes at once do not undo each other.
        SchedulingSettings.objects.get_or_create(pk=1)
        row = SchedulingSettings.objects.select_for_update().get(pk=1)
        for field, text in pairs.items():
            setattr(row, field.name, WORDS.get(text.lower(), text))
        try:
            row.full_clean()
        except ValidationError as error:
            tried = " and ".join(f"{field.name} cannot be {text!r}" for field, text in pairs.items())
            raise Failed(f"{tried}: {' '.join(error.messages)}") from None
        row.save(update_fields=[field.name for field in pairs])
        transaction.on_commit(wake_scheduler)  # More capacity, or the end of a pause, is used at once.
    return row


def _fields() -> "dict[str, models.Field[Any, Any]]":
    return {field.name: field for field in SchedulingSettings._meta.concrete_fields if not field.primary_key}


def _named(name: str) -> "models.Field[Any, Any]":
    try:
        return _fields()[name]
    except KeyError:
        raise Failed(f"There is no setting {name!r}. Settings: {', '.join(_fields())}") from None


def _as_json(row: SchedulingSettings, field: "models.Field[Any, Any]") -> dict[str, object]:
    return {
        "name": field.name,
        "value": getattr(row, field.name),
        "default": field.default,
        "meaning": str(field.help_text),
    }


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
