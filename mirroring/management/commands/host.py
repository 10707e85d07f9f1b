"""`manage.py host`: how upstream hosts are reached, and which SSH keys are theirs."""

from contextlib import suppress

from django.core.management.base import CommandParser
from django.db.models import Count, Q
from rich import box
from rich.table import Table

from mirroring import catalog
from mirroring.management.base import Act, ActCommand, Options
from mirroring.management.describe import plain, rendered
from mirroring.management.person import who
from mirroring.models import Host, SchedulingSettings
from mirroring.rules.words import counted
from mirroring.scheduler.host_state import HostState, states_of
from mirroring.tasks import wake_scheduler
from mirroring.tracker.connection import connect, present
from mirroring.tracker.job_tracker import TrackerDown
from mirroring.upstream.access.ssh import fingerprint

FIELDS = ("proxy", "ca_bundle", "client_certificate")
NOTHING = "none"


class Command(ActCommand):
    """The acts on hosts."""

    help = "Say how upstream hosts are reached, and which SSH keys are theirs."

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the acts."""
        act = self.acts(parser)
        act("list", self.show_list, "List the hosts.")
        acts: tuple[tuple[str, Act, str], ...] = (
            ("show", self.show_one, "Show everything about a host."),
            ("set", self.set, "Change how a host is reached, and how many imports it may have at once."),
            ("retry", self.retry, "Try a host again now that is left alone after failures."),
            (
                "keys",
                self.keys,
                "Fetch the SSH keys that a host shows now, and compare them with the pinned.",
            ),
            ("trust", self.trust, "Pin an SSH key of a host, by the fingerprint that you have compared."),
            ("distrust", self.distrust, "Pin an SSH key of a host no more."),
        )
        for name, run, text in acts:
            one = act(name, run, text)
            one.add_argument("host", metavar="HOST", help="its name, with :PORT where that is unusual")
            if name == "set":
                one.add_argument("--proxy", metavar="URL", help="http://HOST:PORT, or none")
                one.add_argument("--ca-bundle", metavar="FILE", help="a PEM file on every worker, or none")
                one.add_argument("--client-certificate", metavar="FILE", help="with its key; or none")
                one.add_argument("--max-slots", metavar="NUMBER", help="imports at once, at most; or none")
            if name in {"trust", "distrust"}:
                one.add_argument("fingerprint", metavar="SHA256:...", nargs="?" if name == "trust" else None)
            if name == "trust":
                one.add_argument("--key", metavar="KEY", help="the public key itself: 'ssh-ed25519 AAAA...'")

    def show_list(self, options: Options) -> None:
        """List the hosts."""
        kept = Count("mirrors", filter=Q(mirrors__deleted_at=None))
        hosts = list(Host.objects.annotate(mirror_count=kept).order_by("name"))
        states = _states(hosts)
        table = Table(
            "host", "mirrors", "proxy", "pinned keys", "imports", box=box.SIMPLE_HEAD, pad_edge=False
        )
        for host, state in zip(hosts, states, strict=True):
            count, stands = str(getattr(host, "mirror_count", "")), state.sentence
            cells = (host.name, count, host.proxy or "-", str(len(host.known_hosts)), stands)
            table.add_row(*map(plain, cells))
        text = rendered(table, out=self.stdout) if hosts else "No hosts: the first mirror of one makes it."
        self.show([_as_json(host, state) for host, state in zip(hosts, states, strict=True)], text, options)

    def retry(self, options: Options) -> None:
        """Try a host again."""
        host = catalog.stop_cooling(options["host"], by=who(), wake=wake_scheduler)
        self._print(host, f"{host.name} is tried again now.", options)

    def show_one(self, options: Options) -> None:
        """Show everything about a host."""
        self._print(catalog.find_host(options["host"]), "", options)

    def set(self, options: Options) -> None:
        """Change how a host is reached."""
        settable = (*FIELDS, "max_slots")
        given = {field: options[field] for field in settable if options[field] is not None}
        values = {field: "" if value == NOTHING else value for field, value in given.items()}
        host = catalog.edit_host(options["host"], by=who(), **values)
        self._print(host, f"Changed {host.name}.", options)

    def keys(self, options: Options) -> None:
        """Compare the keys that a host shows now with the pinned ones."""
        name = options["host"]
        offered = catalog.offered_keys(name)
        row = Host.objects.filter(name=name.lower()).first()
        pinned = set(row.known_hosts) if row else set()
        lines = [
            f"{fingerprint(key)} {key.split()[0]}{' (pinned)' if key in pinned else ''}" for key in offered
        ]
        if not pinned & set(offered):
            lines.append("None of them is pinned. Compare one with what the host's operator publishes, then:")
            lines.append(f"manage.py host trust {name} SHA256:...")
        data = [{"key": key, "fingerprint": fingerprint(key), "pinned": key in pinned} for key in offered]
        self.show(data, "\n".join(lines), options)

    def trust(self, options: Options) -> None:
        """Pin a key."""
        given = {"fingerprint": options["fingerprint"] or "", "key": options["key"] or ""}
        host = catalog.trust(options["host"], by=who(), **given)
        self._print(host, f"{host.name} is known by {counted(len(host.known_hosts), 'key')} now.", options)

    def distrust(self, options: Options) -> None:
        """Pin a key no more."""
        host = catalog.distrust(options["host"], fingerprint=options["fingerprint"], by=who())
        self._print(host, f"{host.name} is known by {counted(len(host.known_hosts), 'key')} now.", options)

    def _print(self, host: Host, done: str, options: Options) -> None:
        [state] = _states([host])
        lines = [done] if done else []
        lines += [str(state)]
        lines += [f"{field.replace('_', ' '):20}{getattr(host, field) or '-'}" for field in ("name", *FIELDS)]
        lines += [f"{'pinned key':20}{fingerprint(key)} {key.split()[0]}" for key in host.known_hosts]
        self.show(_as_json(host, state), "\n".join(plain(line).plain for line in lines), options)


def _states(hosts: list[Host]) -> list[HostState]:
    """Return where hosts stand; without Redis or workers within the capacity that is set."""
    configured = SchedulingSettings.current()
    capacity = configured.mirror_max_capacity
    with suppress(TrackerDown):
        capacity = connect().counts(max_capacity=capacity).capacity or capacity
    return states_of(hosts, capacity=capacity, configured=configured, now=present())


def _as_json(host: Host, state: HostState) -> dict[str, object]:
    return {field: getattr(host, field) for field in ("name", *FIELDS)} | {
        "known_hosts": [fingerprint(key) for key in host.known_hosts],
        "max_slots": host.max_slots,
        "slots": state.limit,
        "in_use": state.held,
        "cooling_until": state.cooling_until,
        "cooling_reason": state.reason,
    }
