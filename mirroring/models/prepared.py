"""Statements whose SQL is made once: Django takes longer to make it than the database takes to run it.

A statement is what a function builds with the ORM from all rows and named values, so that a rule stands in one place,
whether it is for one import or for many rows. It is built twice, with two sets of stand-ins: what differs between the
two is a value. A value from which the function made another would differ, too, and be no stand-in: that is refused.
Truth values, None, members of an Enum and tuples are part of the statement: for each of them another one is made.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from types import NoneType
from typing import Any, Generic, NamedTuple, TypeVar

from django.db import connections, models
from django.db.models.query import get_related_populators
from django.db.models.sql import UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

from mirroring.models.among import as_parameter

M = TypeVar("M", bound=models.Model)

_PART_OF_IT = (bool, NoneType, Enum, tuple)
_STAND_INS: Mapping[type, Callable[[int], object]] = {
    int: int,
    str: "stand-in {}".format,
    bytes: lambda number: b"stand-in %d" % number,
    list: lambda number: [number],
    datetime: lambda number: datetime(2000, 1, 1, microsecond=number, tzinfo=UTC),
}
_SET = 1_000


class Changes(NamedTuple):
    """Rows, and what they are changed to."""

    rows: "models.QuerySet[Any]"
    to: Mapping[str, object]


class _Slot(str):
    """The name of the value that goes here."""

    __slots__ = ()


@dataclass(frozen=True)
class _Made:
    """A statement, its parameters (or whose value one is), and how the rows are read that it returns."""

    sql: str
    parameters: Sequence[object]
    read: Callable[[Sequence[Any]], list[Any]]


class _Prepared:
    """What one function builds, for each database and all that is part of it."""

    def __init__(self, build: Callable[..., Any]) -> None:
        self._build = build
        self._made: dict[object, _Made] = {}

    def _run(self, rows: "models.QuerySet[Any]", values: Mapping[str, object], cursor: Any) -> _Made:
        if rows.query.where:
            raise ValueError("a prepared statement begins with all rows")
        kinds = [(n, value if isinstance(value, _PART_OF_IT) else type(value)) for n, value in values.items()]
        key = (rows.db, *kinds)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._make(rows.all(), values)
        adapted = {name: _adapted(value, cursor.db) for name, value in values.items()}
        cursor.execute(made.sql, [adapted[p] if type(p) is _Slot else p for p in made.parameters])
        return made

    def _make(self, rows: "models.QuerySet[Any]", values: Mapping[str, object]) -> _Made:
        connection = connections[rows.db]
        one, other = (_stand_ins(values, first=first) for first in (_SET, 2 * _SET))
        compiler = self._compiler(self._build(rows, **one), using=rows.db)
        sql, parameters = compiler.as_sql()
        _, others = self._compiler(self._build(rows, **other), using=rows.db).as_sql()
        slots = {
            (_plain(_adapted(one[name], connection)), _plain(_adapted(other[name], connection))): _Slot(name)
            for name, value in values.items()
            if not isinstance(value, _PART_OF_IT)
        }
        found = [_slot(pair, slots) for pair in zip(parameters, others, strict=True)]
        if unused := set(slots.values()).difference(p for p in found if type(p) is _Slot):
            raise ValueError(f"not used as they are handed in: {sorted(unused)}")
        return _Made(sql, found, self._reader(compiler, using=rows.db))

    def _compiler(self, built: Any, *, using: str) -> Any:
        raise NotImplementedError

    def _reader(self, compiler: SQLCompiler, *, using: str) -> Callable[[Sequence[Any]], list[Any]]:
        return list


class PreparedUpdate(_Prepared):
    """An UPDATE of what a function returns as Changes."""

    def __call__(self, rows: "models.QuerySet[Any]", **values: object) -> int:
        """Run it, and return how many rows it changed."""
        with connections[rows.db].cursor() as cursor:
            self._run(rows, values, cursor)
            return int(cursor.rowcount)

    def _compiler(self, built: Changes, *, using: str) -> Any:
        query: UpdateQuery = built.rows.query.chain(UpdateQuery)  # type: ignore[assignment]
        query.add_update_values(dict(built.to))
        return query.get_compiler(using)


class PreparedSelect(_Prepared, Generic[M]):
    """A SELECT of the rows that a function returns, with those that they refer to."""

    def __init__(self, build: "Callable[..., models.QuerySet[M]]") -> None:
        super().__init__(build)

    def __call__(self, rows: "models.QuerySet[M]", **values: object) -> list[M]:
        """Run it, and return the rows."""
        with connections[rows.db].cursor() as cursor:
            return self._run(rows, values, cursor).read(cursor.fetchall())

    def _compiler(self, built: "models.QuerySet[M]", *, using: str) -> Any:
        return built.query.get_compiler(using)

    def _reader(self, compiler: SQLCompiler, *, using: str) -> Callable[[Sequence[Any]], list[M]]:
        """Return what makes instances of rows, as Django's own iteration over a queryset does."""
        info: dict[str, Any] = compiler.klass_info
        columns = [expression for expression, *_ in compiler.select]
        first, last = info["select_fields"][0], info["select_fields"][-1] + 1
        names = [column.target.attname for column in columns[first:last]]
        others = get_related_populators(info, compiler.select, using)  # type: ignore[call-arg]
        converted = _converted(compiler)

        def read(found: Sequence[Any]) -> list[M]:
            rows = converted(found)
            made = [info["model"].from_db(using, names, row[first:last]) for row in rows]
            for instance, row in zip(made, rows, strict=True):
                for other in others:
                    other.populate(row, instance)
            return made

        return read


class PreparedValues(PreparedSelect[Any]):
    """A SELECT of the columns that a function names with `values_list`."""

    def _reader(self, compiler: SQLCompiler, *, using: str) -> Callable[[Sequence[Any]], list[Any]]:
        return _converted(compiler)


def _converted(compiler: SQLCompiler) -> Callable[[Sequence[Any]], list[Any]]:
    """Return what makes of rows as the driver has them rows as Django has them."""
    converters = compiler.get_converters([expression for expression, *_ in compiler.select])
    if not converters:
        return list
    return lambda found: list(compiler.apply_converters(found, converters))


def _stand_ins(values: Mapping[str, object], *, first: int) -> dict[str, object]:
    return {
        name: value if isinstance(value, _PART_OF_IT) else _STAND_INS[type(value)](number)
        for number, (name, value) in enumerate(values.items(), start=first)
    }


def _adapted(value: object, connection: Any) -> object:
    """Return a value as a field hands it to the driver."""
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    if isinstance(value, list):
        return as_parameter(value, connection)
    return connection.Database.Binary(value) if isinstance(value, bytes) else value


def _plain(value: object) -> object:
    """Return a value as it can be compared: a driver may have wrapped it."""
    held = getattr(value, "obj", value)
    if isinstance(held, list):
        return tuple(held)
    return bytes(held) if isinstance(held, memoryview) else held


def _slot(pair: tuple[object, object], slots: Mapping[tuple[object, object], _Slot]) -> object:
    """Return whose value a parameter is, or the parameter itself if it is always the same."""
    one, other = map(_plain, pair)
    if one == other:
        return pair[0]
    if (one, other) not in slots:
        raise ValueError(f"made from a value: {one!r}; hand it in as a value of its own")
    return slots[one, other]
