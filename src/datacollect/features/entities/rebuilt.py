"""SQL of a rebuild: its checkpoint, and the rows it makes beside the live ones.

Statements on whole tables work through them in ranges of keys, so that none takes long and few rows are in memory.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, delete, func, select, update

from datacollect.db import Reading, Tx, insert_into
from datacollect.db.database import Dialect
from datacollect.features.entities.errors import RebuildTakenOver
from datacollect.features.entities.listings import look_at_all, put_back
from datacollect.features.entities.rows import (
    ENTITY_COLUMNS,
    ENTITY_KEY,
    LIST,
    LISTED_AGAIN,
    LIVE,
    MEMBER_COLUMNS,
    MEMBER_KEY,
    REBUILT,
    placeholder,
)
from datacollect.features.entities.tables import members_rebuild, rebuilds
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid

_RANGE = 5000
_figures = msgspec.json.Decoder(dict[str, int])


# -- the checkpoint

_DISCARDED = -1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a rebuild has come: everything up to `position` is in its tables."""

    id: str
    made_by: str
    position: int
    chain_hash: bytes
    figures: Mapping[str, int]

    @property
    def is_whole(self) -> bool:
        return self.position != _DISCARDED

    def discarded(self) -> "Checkpoint":
        """What it is while its rows are thrown away."""
        return replace(self, position=_DISCARDED, chain_hash=b"", figures={})


async def find_checkpoint(view: Reading, scope: TenantScope) -> Checkpoint | None:
    row = (await view.execute(select(rebuilds).where(rebuilds.c.tenant_id == scope.tenant_id))).first()
    return row and Checkpoint(row.id, row.made_by, row.position, row.chain_hash, _figures.decode(row.figures))


async def begin(tx: Tx, scope: TenantScope, found: Checkpoint | None, made_by: str, *, now: Millis) -> Checkpoint:
    """Begin a rebuild in the place of the one that was found. Rows that are there are yet to be thrown away."""
    new = Checkpoint(new_guid(), made_by, 0, b"", {}).discarded()
    if found is not None:
        await _replace(tx, scope, found, made_by=made_by, started_ms=now, **_values(new, now))
    else:
        values = _values(new, now) | {"made_by": made_by, "started_ms": now, "tenant_id": scope.tenant_id}
        insert = insert_into(tx, rebuilds)
        if (await tx.execute(insert.values(**values).on_conflict_do_nothing())).rowcount != 1:
            raise RebuildTakenOver()
    return new


async def take_over(tx: Tx, scope: TenantScope, found: Checkpoint, *, now: Millis) -> Checkpoint | None:
    """Go on with a rebuild; whoever was at work on it notices at the next step. None if it is not where it was found: the
    tables hold more than what is told here, and who went on from here would apply that twice."""
    mine = replace(found, id=new_guid())
    unmoved = (rebuilds.c.position == found.position) & (rebuilds.c.chain_hash == found.chain_hash)
    taken = update(rebuilds).where(_is(scope, found), unmoved).values(**_values(mine, now))
    return mine if (await tx.execute(taken)).rowcount == 1 else None


async def move(tx: Tx, scope: TenantScope, checkpoint: Checkpoint, *, now: Millis) -> None:
    """Store how far it has come; first thing in a transaction, as it makes others wait."""
    await _replace(tx, scope, checkpoint, **_values(checkpoint, now))


async def remove_checkpoint(tx: Tx, scope: TenantScope, checkpoint: Checkpoint) -> None:
    await tx.execute(delete(rebuilds).where(_is(scope, checkpoint)))


async def _replace(tx: Tx, scope: TenantScope, checkpoint: Checkpoint, **values: Any) -> None:
    """Raises `RebuildTakenOver` when the checkpoint is somebody else's by now."""
    if (await tx.execute(update(rebuilds).where(_is(scope, checkpoint)).values(**values))).rowcount != 1:
        raise RebuildTakenOver()


def _is(scope: TenantScope, checkpoint: Checkpoint) -> ColumnElement[bool]:
    return (rebuilds.c.tenant_id == scope.tenant_id) & (rebuilds.c.id == checkpoint.id)


def _values(checkpoint: Checkpoint, now: Millis) -> dict[str, Any]:
    return {
        "id": checkpoint.id,
        "position": checkpoint.position,
        "chain_hash": checkpoint.chain_hash,
        "figures": msgspec.json.encode(checkpoint.figures).decode(),
        "updated_ms": now,
    }


# -- the rows


_GROWING = {
    "plan_cache_mode": "force_custom_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
}


async def expect_growth(tx: Tx) -> None:
    """For this transaction, keep PostgreSQL from plans that fit the tables as they were when they were smaller."""
    if tx.dialect == "postgresql":
        await tx.run(
            "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _GROWING.items())
        )


async def count_memberships(view: Reading, scope: TenantScope) -> int:
    """Those that have not ended, among the rebuilt ones."""
    rows = members_rebuild.c
    count = select(func.count()).where(rows.tenant_id == scope.tenant_id, rows.present)
    return int((await view.execute(count)).scalar_one())


async def discard_some(tx: Tx, scope: TenantScope) -> bool:
    """Delete some of the rebuilt rows; whether there may be more."""
    more = False
    for pair in _PAIRS:
        sql = _Sql(tx.dialect, scope)
        ends = await tx.fetch(sql.fill(_REBUILT_END, pair, _EVERYWHERE), *sql.values)
        sql = _Sql(tx.dialect, scope)
        await tx.run(sql.fill(_DISCARD, pair, (None, tuple(ends[0]) if ends else None)), *sql.values)
        more |= bool(ends)
    return more


async def replace_live(tx: Tx, scope: TenantScope) -> None:
    """Make the live rows what the rebuilt ones are, and put each entity where it belongs in lists. Rows that are so already
    are left alone, as is what no event says."""
    await put_back(tx, scope)
    for pair in _PAIRS:
        async for within in _ranges(tx, scope, pair):
            for text in pair.made_live_by:
                sql = _Sql(tx.dialect, scope)
                await tx.run(sql.fill(text, pair, within), *sql.values)
    # Nobody has counted the places that entities had before.
    await look_at_all(tx, scope)


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not what the log gives. Rows by column name; None where there is none."""

    kind: str
    """`entity`, `membership`, `place in lists` or `search term`"""
    key: tuple[str, ...]
    live: Mapping[str, Any] | None
    rebuilt: Mapping[str, Any] | None


async def differences(view: Reading, scope: TenantScope) -> AsyncIterator[Difference]:
    """All of them, in the order of keys."""
    for pair in _PAIRS:
        async for within in _ranges(view, scope, pair):
            sql = _Sql(view.dialect, scope)
            for row in await view.fetch(sql.fill(_DIFFERENT, pair, within), *sql.values):
                yield _difference(pair, tuple(row))
    async for within in _ranges(view, scope, _ENTITIES):
        sql = _Sql(view.dialect, scope)
        for guid, position in await view.fetch(sql.fill(_UNLISTED, _ENTITIES, within), *sql.values):
            yield Difference("place in lists", (guid,), None, {"position": position})


def _difference(pair: "_Pair", row: tuple[Any, ...]) -> Difference:
    width = len(pair.columns)
    sides = [dict(zip(pair.columns, side, strict=True)) for side in (row[:width], row[width:])]
    live, rebuilt = (side if side[pair.key[0]] is not None else None for side in sides)
    key = tuple(str((rebuilt or live or {})[name]) for name in pair.key)
    return Difference(pair.kind, key, live, rebuilt)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A live table and its rebuilt counterpart."""

    kind: str
    live: str
    rebuilt: str
    key: Sequence[str]
    columns: Sequence[str]
    made_live_by: Sequence[str]
    """The statements, in order."""


_Key = Sequence[Any]
_Range = tuple[_Key | None, _Key | None]
"""After the first key, up to and with the second; None is no limit."""
_EVERYWHERE: _Range = (None, None)


async def _ranges(view: Reading, scope: TenantScope, pair: _Pair) -> AsyncIterator[_Range]:
    """Ranges that hold every row of both tables, a limited number of each."""
    after: _Key | None = None
    while True:
        sql = _Sql(view.dialect, scope)
        ends = await view.fetch(sql.fill(_RANGE_END, pair, (after, None)), *sql.values)
        through = tuple(ends[0]) if ends else None
        yield after, through
        if through is None:
            return
        after = through


# `l` is the live table, `r` the rebuilt one. Databases compare keys by rules of their own, so that only they do it.
# `{alone}` keeps PostgreSQL, which takes a program that was filled since the last ANALYZE for empty, from taking the
# inner query apart and reading all of its rows for each one outside.
_RANGE_END = f"""
SELECT * FROM (
  SELECT * FROM (SELECT {{key}} FROM {{live}} l WHERE l.tenant_id = {{tenant}} {{l_within}}
                 ORDER BY {{key}} LIMIT 1 OFFSET {_RANGE}) AS of_live
  UNION ALL
  SELECT * FROM (SELECT {{key}} FROM {{rebuilt}} r WHERE r.tenant_id = {{tenant}} {{r_within}}
                 ORDER BY {{key}} LIMIT 1 OFFSET {_RANGE}) AS of_rebuilt) AS ends
ORDER BY {{key}} LIMIT 1"""

_REBUILT_END = f"""
SELECT {{key}} FROM {{rebuilt}} r WHERE r.tenant_id = {{tenant}} ORDER BY {{key}} LIMIT 1 OFFSET {_RANGE}"""

_DISCARD = """
DELETE FROM {rebuilt} AS r WHERE r.tenant_id = {tenant} {r_within}"""

_DELETE_SURPLUS = """
DELETE FROM {live} AS l WHERE l.tenant_id = {tenant} {l_within}
AND NOT EXISTS (SELECT 1 FROM {rebuilt} r WHERE r.tenant_id = {tenant} AND {same_key} {alone})"""

_COPY_DIFFERENT = """
INSERT INTO {live} (tenant_id, {columns})
SELECT r.tenant_id, {r_columns} FROM {rebuilt} r WHERE r.tenant_id = {tenant} {r_within}
AND NOT EXISTS (SELECT 1 FROM {live} l WHERE l.tenant_id = {tenant} AND {same_key}
                AND {l_row} {is_same} {r_row} {alone})
ON CONFLICT (tenant_id, {key}) DO UPDATE SET {overwritten}"""

_DIFFERENT = """
SELECT {l_texts}, {r_texts} FROM {rebuilt} r
LEFT JOIN {counterpart}
WHERE r.tenant_id = {tenant} {r_within} AND NOT ({l_row} {is_same} {r_row})
UNION ALL
SELECT {l_texts}, {nothing} FROM {live} l WHERE l.tenant_id = {tenant} {l_within}
AND NOT EXISTS (SELECT 1 FROM {rebuilt} r WHERE r.tenant_id = {tenant} AND {same_key} {alone})"""


# As the database writes the conditions of live entities; `l` is an entity here.
_UNLISTED_WHERE = """
WHERE l.tenant_id = {tenant} {l_within} AND NOT l.deleted
AND NOT EXISTS (SELECT 1 FROM listings o WHERE o.tenant_id = {tenant} AND o.position = l.changed_position AND o.guid = l.guid
                AND (o.type, o.form_key, o.area_id) {is_same} (l.type, l.form_key, l.area_id) {alone})"""

_UNLISTED = f"""
SELECT l.guid, l.changed_position FROM {{live}} l{_UNLISTED_WHERE} ORDER BY l.guid"""

_LIST_UNLISTED = f"""
{LIST} SELECT l.tenant_id, l.changed_position, l.guid, l.type, l.form_key, l.area_id FROM {{live}} l{_UNLISTED_WHERE}
{LISTED_AGAIN}"""

_ENTITIES = _Pair(
    "entity",
    LIVE.entities,
    REBUILT.entities,
    ENTITY_KEY.split(", "),
    ENTITY_COLUMNS.split(", "),
    (_DELETE_SURPLUS, _COPY_DIFFERENT, _LIST_UNLISTED),
)
_MEMBERS = _Pair(
    "membership",
    LIVE.members,
    REBUILT.members,
    MEMBER_KEY.split(", "),
    MEMBER_COLUMNS.split(", "),
    (_DELETE_SURPLUS, _COPY_DIFFERENT),
)
_PAIRS = (_ENTITIES, _MEMBERS)


class _Sql:
    """A statement put together from constants of this file, and the values to bind."""

    def __init__(self, dialect: Dialect, scope: TenantScope) -> None:
        self._dialect = dialect
        self.values: list[Any] = [scope.tenant_id]

    def fill(self, text: str, pair: _Pair, within: _Range) -> str:
        key, columns, sqlite = pair.key, pair.columns, self._dialect == "sqlite"
        same_key = " AND ".join(f"r.{name} = l.{name}" for name in key)
        found = f"l.tenant_id = {self._place(1)} AND {same_key}"
        limits = self._limits(within)
        l_texts, r_texts = self._texts("l", columns), self._texts("r", columns)
        return text.format(
            live=pair.live,
            rebuilt=pair.rebuilt,
            tenant=self._place(1),
            key=", ".join(key),
            columns=", ".join(columns),
            r_columns=", ".join(f"r.{name}" for name in columns),
            same_key=same_key,
            alone="" if sqlite else "OFFSET 0",
            counterpart=f"{pair.live} l ON {found}"
            if sqlite
            else f"LATERAL (SELECT * FROM {pair.live} l WHERE {found} OFFSET 0) l ON true",
            l_within=" ".join(f"AND {_row('l', key)} {limit}" for limit in limits),
            r_within=" ".join(f"AND {_row('r', key)} {limit}" for limit in limits),
            l_texts=l_texts,
            r_texts=r_texts,
            l_row=f"({l_texts})",
            r_row=f"({r_texts})",
            is_same="IS" if sqlite else "IS NOT DISTINCT FROM",
            nothing=", ".join("NULL" for _ in columns),
            overwritten=", ".join(f"{name} = excluded.{name}" for name in columns if name not in key),
        )

    def _limits(self, within: _Range) -> list[str]:
        return [
            f"{sign} ({', '.join(map(self._bind, bound))})"
            for sign, bound in zip((">", "<="), within, strict=True)
            if bound is not None
        ]

    def _bind(self, value: Any) -> str:
        self.values.append(value)
        return self._place(len(self.values))

    def _place(self, number: int) -> str:
        return placeholder(self._dialect, number)

    def _texts(self, table: str, columns: Sequence[str]) -> str:
        """JSON as its text: as values, 1 and 1.0 would be the same."""
        return ", ".join(f"CAST({table}.{name} AS text)" if name == "data" else f"{table}.{name}" for name in columns)


def _row(table: str, key: Sequence[str]) -> str:
    return f"({', '.join(f'{table}.{name}' for name in key)})"
