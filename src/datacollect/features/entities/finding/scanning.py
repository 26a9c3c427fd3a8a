"""Going through the entities of a way, and keeping those that the hub itself finds to belong."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from datacollect.db import Reading
from datacollect.db.portions import Portion
from datacollect.features.entities.finding import statements
from datacollect.features.entities.finding.criteria import Attribute, Criterion
from datacollect.features.entities.finding.errors import SearchTooSlow
from datacollect.features.entities.finding.pages import BY_GUID, MOST_LIST_BYTES, NEWEST, Key, Order
from datacollect.features.entities.finding.planning import Way
from datacollect.features.entities.finding.prefilter import condition_of, extracts
from datacollect.features.entities.finding.statements import More, Sql
from datacollect.features.entities.indexing.terms import words_of
from datacollect.features.entities.indexing.values import value_at
from datacollect.features.entities.indexing.words import Beginnings, answers
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import TenantScope

_KEY_COLUMNS = ("e.guid", "e.type", "e.name", "e.last_updated", "e.changed_position", "e.sort_name", "e.form_key")
_AT = {"guid": 0, "changed_position": 4, "sort_name": 5, "form_key": 6}
LATEST = 20_000
"""Positions within which entities are come by in the order of their changes, before all are gone through."""
_FIRST_PAGE = 500
_LONGEST_PAGE = 5_000

Row = Sequence[Any]


class Deadline:
    """How long an answer may take."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Raises `SearchTooSlow` when there is nothing left."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise SearchTooSlow()
        return left


class Judges(Protocol):
    """Decides which entities belong, by what it asks to see of them."""

    def columns(self, sql: Sql) -> Sequence[str]: ...

    def conditions(self, sql: Sql, row: str) -> Sequence[str]:
        """For the database: what every entity meets that belongs."""

    def accepts(self, row: Row) -> bool:
        """`row` begins with the key columns; behind them is what was asked for."""


@dataclass(frozen=True, slots=True)
class MeetsCriteria:
    """Implements `Judges`: all criteria are met."""

    criteria: Sequence[Criterion]

    def columns(self, sql: Sql) -> Sequence[str]:
        return [column for one in self.criteria if one.reads_data for column in extracts(sql, one.path)]

    def conditions(self, sql: Sql, row: str) -> Sequence[str]:
        return [condition_of(sql, one, row) for one in self.criteria]

    def accepts(self, row: Row) -> bool:
        at = len(_KEY_COLUMNS)
        for one in self.criteria:
            if one.attribute is not None:
                value = _attribute(row, one.attribute)
            else:
                value, at = _value(row, at, one.path)
            if not one.judge(value):
                return False
        return True


@dataclass(frozen=True, slots=True)
class AnswersWords:
    """Implements `Judges`: the words of the name and the searchable fields answer what is asked for."""

    asked: Sequence[Beginnings]
    fields: Sequence[str]

    @property
    def _paths(self) -> Sequence[str]:
        return tuple(dict.fromkeys(("name", *self.fields)))

    def columns(self, sql: Sql) -> Sequence[str]:
        return [column for path in self._paths for column in extracts(sql, path)]

    def conditions(self, sql: Sql, row: str) -> Sequence[str]:
        return ()

    def accepts(self, row: Row) -> bool:
        data: dict[str, Any] = {}
        at = len(_KEY_COLUMNS)
        for path in self._paths:
            data[path], at = _value(row, at, path)
        return answers(words_of(row[2], data, self.fields), self.asked)


def _attribute(row: Row, attribute: Attribute) -> Any:
    match attribute:
        case Attribute.GUID:
            return row[0]
        case Attribute.TYPE:
            return row[1]
        case Attribute.LAST_UPDATED:
            return format_timestamp(Millis(row[3]))


def _value(row: Row, at: int, path: str) -> tuple[Any, int]:
    """The value whose extracts begin at a column, and where the next ones begin."""
    steps = path.split(".")
    if row[at] is not None:
        found = msgspec.json.decode(row[at])
        return found, at + (1 if len(steps) == 1 or not all(steps) else 2)
    if len(steps) == 1 or not all(steps):
        return None, at + 1
    inner = row[at + 1]
    return (None if inner is None else value_at({steps[0]: msgspec.json.decode(inner)}, path)), at + 2


async def scan(
    view: Reading,
    scope: TenantScope,
    way: Way,
    judges: Judges,
    order: Order,
    after: Key | None,
    *,
    limit: int | None,
    deadline: Deadline,
) -> list[Row]:
    """Up to `limit` of those that belong, None: all of them, in order. A statement for each page that is gone through."""
    if view.dialect == "postgresql" and order == NEWEST and way.is_whole_program:
        return await _scan_by_key(view, scope, way, judges, after, limit=limit, deadline=deadline)
    return await _scan_in_order(view, scope, way, judges, order, after, limit=limit, deadline=deadline)


async def _scan_by_key(
    view: Reading,
    scope: TenantScope,
    way: Way,
    judges: Judges,
    after: Key | None,
    *,
    limit: int | None,
    deadline: Deadline,
) -> list[Row]:
    """As `scan`, of a program as a whole, what changed last first: what changed shortly before in that order, and if that is
    not enough, all that is left in the order of the table's key, from which the first are kept.

    To come to each entity from its place in lists takes PostgreSQL three times as long as to walk through them.
    """
    begin = await _newest(view, scope) if after is None else int(after[0])
    behind = max(0, begin - LATEST - 1)
    near = way.latest(behind)
    kept = await _scan_in_order(view, scope, near, judges, NEWEST, after, limit=limit, deadline=deadline)
    if len(kept) == limit or not behind:
        return kept
    kept = [row[: len(_KEY_COLUMNS)] for row in kept]

    def others(sql: Sql, row: str) -> Sequence[str]:
        return [*judges.conditions(sql, row), statements.changed_up_to(sql, behind, row=row)]

    at: Key | None = None
    while True:
        await asyncio.sleep(0)
        assert deadline.left
        rows, is_cut = await _read(view, scope, way, judges, BY_GUID, at, limit=_LONGEST_PAGE, more=others)
        kept = await asyncio.to_thread(_first_of, kept, rows, judges.accepts, limit)
        if len(rows) < _LONGEST_PAGE and not is_cut:
            return (await asyncio.to_thread(_newest_first, kept))[:limit]
        at = key_in(rows[-1], BY_GUID)


def _first_of(kept: list[Row], rows: Sequence[Row], accepts: Callable[[Row], bool], limit: int | None) -> list[Row]:
    """Those that are kept and those of the others that belong; of more than twice as many as are wanted the first. Of each
    what its key is made of: the rest may be large."""
    kept = kept + [row[: len(_KEY_COLUMNS)] for row in rows if accepts(row)]
    return kept if limit is None or len(kept) <= 2 * limit else _newest_first(kept)[:limit]


def _newest_first(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: key_in(row, NEWEST), reverse=True)


async def _newest(view: Reading, scope: TenantScope) -> int:
    sql = Sql(view.dialect, scope)
    return int((await view.fetch(statements.newest_position(sql), *sql.values))[0][0])


async def _scan_in_order(
    view: Reading,
    scope: TenantScope,
    way: Way,
    judges: Judges,
    order: Order,
    after: Key | None,
    *,
    limit: int | None,
    deadline: Deadline,
) -> list[Row]:
    kept: list[Row] = []
    size = way.counted + 1 if way.counted is not None else min(max(_FIRST_PAGE, 2 * (limit or 0)), _LONGEST_PAGE)
    while limit is None or len(kept) < limit:
        await asyncio.sleep(0)
        assert deadline.left
        rows, is_cut = await _read(view, scope, way, judges, order, after, limit=size)
        # In a thread, so that nobody else waits for it.
        kept += await asyncio.to_thread(_sift, rows, judges.accepts, len(rows) if limit is None else limit - len(kept))
        if len(rows) < size and not is_cut:
            break
        after = key_in(rows[-1], order)
        size = min(2 * size, _LONGEST_PAGE)
    return kept


async def _read(
    view: Reading,
    scope: TenantScope,
    way: Way,
    judges: Judges,
    order: Order,
    after: Key | None,
    *,
    limit: int,
    more: More | None = None,
) -> Portion[Row]:
    sql = Sql(view.dialect, scope)
    looked_at = {f"value{number}": column for number, column in enumerate(judges.columns(sql))}
    columns = ", ".join((*_KEY_COLUMNS, *(f"{column} AS {name}" for name, column in looked_at.items())))
    text = way.page(sql, order, after, limit=limit, columns=columns, more=more or judges.conditions)
    return await view.fetch_portion(text, *sql.values, texts=("name", *looked_at), most_bytes=MOST_LIST_BYTES)


def _sift(rows: Sequence[Row], accepts: Callable[[Row], bool], limit: int) -> list[Row]:
    kept: list[Row] = []
    for row in rows:
        if accepts(row):
            kept.append(row)
            if len(kept) == limit:
                break
    return kept


def key_in(row: Row, order: Order) -> Key:
    return tuple(row[_AT[column]] for column in order.sort.columns)
