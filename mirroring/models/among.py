"""Many ids as one parameter: Django takes longer for each of them than the database."""

import json
from collections.abc import Collection
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models.expressions import RawSQL

_AMONG = {"postgresql": "SELECT unnest(%s::bigint[])", "sqlite": "SELECT value FROM json_each(%s)"}


def among(ids: Collection[int], *, using: str = DEFAULT_DB_ALIAS) -> RawSQL:
    """Return the ids as the right side of `in`."""
    connection = connections[using]
    return RawSQL(_AMONG[connection.vendor], [as_parameter(ids, connection)])  # noqa: S611


def as_parameter(ids: Collection[int], connection: Any) -> object:
    """Return the ids as the statement takes them."""
    return list(ids) if connection.vendor == "postgresql" else json.dumps(list(ids))
