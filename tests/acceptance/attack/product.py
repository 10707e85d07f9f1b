"""Inside the product: ask its door about URLs, and force mirrors past the door into the database.

    python -m tests.acceptance.attack.product judge|equip|force|rows   <JSON on standard input, JSON on standard output>

It runs with the environment of the stack under attack.
"""

import json
import sys
import time
from datetime import timedelta
from typing import Any


def judge(urls: list[str]) -> list[dict[str, Any]]:
    """Say for each URL whether the door takes it, and as what."""
    from mirroring import catalog

    verdicts = []
    for url in urls:
        try:
            wanted = catalog.want(url, group="judged", name="x")
        except catalog.CatalogError as error:
            verdicts.append({"url": url, "taken": False, "why": str(error)})
            continue
        made = wanted.upstream
        try:
            again = catalog.want(made.url, group="judged", name="x").upstream.url
        except catalog.CatalogError as error:
            again = f"refused: {error}"
        verdicts.append({"url": url, "taken": True, "normal": made.url, "host": made.host, "again": again})
    return verdicts


def equip(given: dict[str, list[dict[str, Any]]]) -> None:
    """Pin keys and name authorities of hosts, and keep SSH keys, as an operator does."""
    from mirroring import catalog
    from mirroring.models import CredentialKind
    from mirroring.tracker.connection import present

    for host in given["hosts"]:
        if "key" in host:
            catalog.trust(host["name"], by="attack", key=host["key"])
        else:
            catalog.edit_host(host["name"], by="attack", ca_bundle=host["ca_bundle"])
    for each in given["credentials"]:
        secret = catalog.Given(secret=each["secret"], hosts=tuple(each["hosts"]))
        kind = CredentialKind.SSH_KEY
        catalog.add_credential(each["name"], kind=kind, given=secret, group=None, by="attack", now=present())


def force(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Write mirrors as they are, whatever the door thinks of them.

    Return when the first of them became due, on the clock of the machine, and their names and repositories.
    """
    from django.db import transaction
    from django.utils import timezone

    from mirroring import catalog
    from mirroring.catalog.adding import groups_named, hosts_named
    from mirroring.models import ImportState, Mirror

    with transaction.atomic():
        groups = groups_named({row["group"] for row in rows})
        hosts = hosts_named({row["host"] for row in rows})
        mirrors = [
            Mirror(
                group=groups[row["group"]],
                name=row["name"],
                url=row["url"],
                host=hosts[row["host"]],
                **(
                    {"credential": catalog.find_credential(row["credential"])}
                    if row.get("credential")
                    else {}
                ),
            )
            for row in rows
        ]
        Mirror.objects.bulk_create(mirrors, batch_size=200)
        now, at = timezone.now(), time.monotonic()
        dues = [now + timedelta(seconds=row.get("due_in", 0.0)) for row in rows]
        states = [
            ImportState(mirror=mirror, host=mirror.host, next_execution_at=due, import_due_at=due)
            for mirror, due in zip(mirrors, dues, strict=True)
        ]
        ImportState.objects.bulk_create(states, batch_size=200)
    made = [{"name": mirror.path, "repository": str(mirror.repository)} for mirror in mirrors]
    return {"at": at, "mirrors": made}


def rows(names: list[str]) -> list[dict[str, Any]]:
    """Return how every mirror stands, straight from the rows."""
    from mirroring.models import ImportAttempt, ImportState

    attempts: dict[int, list[dict[str, Any]]] = {}
    for attempt in ImportAttempt.objects.order_by("pk"):
        ended = {"outcome": attempt.outcome, "error": attempt.error, "ended": attempt.ended_at is not None}
        attempts.setdefault(attempt.mirror_id, []).append(ended)
    states = ImportState.objects.select_related("mirror__group")
    return [
        {
            "name": state.mirror.path,
            "status": state.status,
            "outcome": state.last_outcome,
            "error": state.last_error,
            "fresh": state.last_successful_update_at is not None,
            "repository": str(state.mirror.repository),
            "attempts": attempts.get(state.mirror_id, []),
        }
        for state in states
        if not names or state.mirror.path in names
    ]


def main() -> None:
    """Do one act."""
    import django

    django.setup()
    given = json.load(sys.stdin)
    json.dump({"judge": judge, "equip": equip, "force": force, "rows": rows}[sys.argv[1]](given), sys.stdout)


if __name__ == "__main__":
    main()
