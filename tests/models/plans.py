"""How a database would carry out a statement of ours, over so many rows that its planner has a choice."""

from datetime import timedelta

import psycopg
import pytest
from django.db import connection

from mirroring.models import Host, ImportState, Mirror
from tests.making import MINUTE, NOW, build_mirror

HOSTS, ROWS = 40, 3000


def make_fleet(line_of):
    """Make rows of many hosts, one in ten of them due; `line_of` names the due column of the row of a number."""
    first = build_mirror()
    hosts = [first.host, *Host.objects.bulk_create([Host(name=f"host-{n}") for n in range(HOSTS)])]
    made = Mirror.objects.bulk_create(
        [
            Mirror(group=first.group, host=hosts[n % HOSTS], name=f"n{n}", url="https://h/x")
            for n in range(ROWS)
        ],
        batch_size=1_000,  # A statement has at most 65,535 values.
    )
    states = []
    for number, mirror in enumerate(made):
        at = NOW - MINUTE if number % 10 == 0 else NOW + timedelta(days=1)
        rest = {"next_execution_at": at, "last_error": "x" * 100, line_of(number): at}
        states.append(ImportState(mirror=mirror, host=mirror.host, **rest))
    ImportState.objects.bulk_create(states, batch_size=1_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def sent_by(act):
    """Return the one statement that an act sends, as it is sent, and its parameters."""
    sent = []

    def note(execute, sql, params, many, context):
        sent.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        act()
    [only] = sent
    return only


def plan_of(sql, params):
    verb = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{verb} {sql}", params)
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


def generic_plan_of(sql, values, *, types):
    """Return the plan as with binding on the server, where the planner does not see the values."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite plans before it sees values, always")
    numbered = sql % {name: f"${at}" for at, name in enumerate(types, start=1)}
    # EXPLAIN EXECUTE takes no values from elsewhere: these are written out.
    with psycopg.ClientCursor(connection.connection) as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(f"PREPARE planned ({', '.join(types.values())}) AS {numbered}")
        marks = ", ".join(["%s"] * len(types))
        cursor.execute(f"EXPLAIN EXECUTE planned ({marks})", [values[name] for name in types])
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("DEALLOCATE planned")
    assert "$1" in plan, "the values were seen"
    return plan


def reads_lines_by(index, plan):
    scans = [line for line in plan.splitlines() if "mirroring_importstate" in line or "importstate_" in line]
    whole = [line for line in scans if "Seq Scan" in line or "SCAN mirroring_importstate" in line]
    return any(index in line for line in scans) and not whole
