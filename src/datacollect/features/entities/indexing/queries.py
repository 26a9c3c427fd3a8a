"""SQL of the index: what it holds of which program, and its rows."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from datacollect.db import Reading, Tx
from datacollect.db.arrays import array_text
from datacollect.db.turns import in_turns
from datacollect.features.entities.indexing.state import NO_INDEX, Fields, IndexState
from datacollect.features.entities.indexing.tables import search_indexes, search_terms
from datacollect.kernel.identity import TenantScope

Row = tuple[str, str, str]
"""Field, term, guid."""

_SORTED_AT_ONCE = 2000
_PARTS_AT_ONCE = 8
"""Of rows whose words begin with one letter each."""

_fields = msgspec.json.Decoder(tuple[str, ...])

STATES, TERMS = search_indexes.name, search_terms.name

STATE_COLUMNS = "rules, fields, next_fields, begun_position, through_position, changes, indexed_position"

_ENDS = "COALESCE((SELECT h.position FROM log_heads h WHERE h.tenant_id = s.tenant_id), 0)"
_EPOCH = "(SELECT h.epoch FROM log_heads h WHERE h.tenant_id = s.tenant_id)"
_CHAIN = "COALESCE((SELECT h.chain_hash FROM log_heads h WHERE h.tenant_id = s.tenant_id), '')"
_FIND = {
    "postgresql": f"SELECT {STATE_COLUMNS}, {_ENDS}, {_EPOCH}, {_CHAIN} FROM {STATES} s WHERE s.tenant_id = $1",
    "sqlite": f"SELECT {STATE_COLUMNS}, {_ENDS}, {_EPOCH}, {_CHAIN} FROM {STATES} s WHERE s.tenant_id = ?1",
}
_OVERWRITE = ", ".join(f"{name} = excluded.{name}" for name in STATE_COLUMNS.split(", "))
_STORE = {
    "postgresql": f"""
INSERT INTO {STATES} (tenant_id, {STATE_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (tenant_id) DO UPDATE SET {_OVERWRITE}""",
    "sqlite": f"""
INSERT INTO {STATES} (tenant_id, {STATE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant_id) DO UPDATE SET {_OVERWRITE}""",
}
_ADD_ONE = f"INSERT INTO {TERMS} (tenant_id, field, term, guid) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"


def add_terms_sql(first: int) -> str:
    """For PostgreSQL, from three arrays as texts, the first of which is that parameter; the tenant is `$1`."""
    return f"""
INSERT INTO {TERMS} (tenant_id, field, term, guid)
SELECT $1, * FROM unnest(${first}::text::text[], ${first + 1}::text::text[], ${first + 2}::text::text[]) ON CONFLICT DO NOTHING"""


_ADD = add_terms_sql(2)
_REMOVE = {
    "postgresql": f"DELETE FROM {TERMS} WHERE tenant_id = $1 AND field = $2 AND term = $3 AND guid = $4",
    "sqlite": f"DELETE FROM {TERMS} WHERE tenant_id = ? AND field = ? AND term = ? AND guid = ?",
}


async def find_index(view: Reading, scope: TenantScope) -> IndexState | None:
    """What the program's index holds; None if none has been begun."""
    rows = await view.fetch(_FIND[view.dialect], scope.tenant_id)
    return state_from(rows[0]) if rows else None


async def read_index(view: Reading, scope: TenantScope) -> IndexState:
    """What the program's index may be asked for.

    Each statement sees what was committed when it began: whoever has asked the index reads this once more afterwards,
    and asks again if it is another.
    """
    return await find_index(view, scope) or NO_INDEX


async def store_index(tx: Tx, scope: TenantScope, state: IndexState) -> None:
    """The caller has locked the log."""
    fields, next_fields = _text(state.fields), _text(state.next_fields)
    values = (state.rules, fields, next_fields, state.begun, state.through, state.changes, state.indexed)
    await tx.run(_STORE[tx.dialect], scope.tenant_id, *values)


async def add_terms(tx: Tx, scope: TenantScope, rows: Collection[Row]) -> None:
    """One statement; what is there already is left alone."""
    if not rows:
        return
    # In the order of the key: neighbours go to one page.
    ordered = await in_key_order(rows)
    if tx.dialect == "sqlite":
        await tx.run_many(_ADD_ONE, [(scope.tenant_id, *row) for row in ordered])
    else:
        await tx.run(_ADD, scope.tenant_id, *map(array_text, zip(*ordered, strict=True)))


async def in_key_order(rows: Collection[Row]) -> Sequence[Row]:
    """As `sorted` has them. Others have their turns while very many are sorted."""
    if len(rows) <= _SORTED_AT_ONCE:
        return sorted(rows)
    parts: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        parts.setdefault((row[0], row[1][:1]), []).append(row)
    ordered: list[Row] = []
    async for some in in_turns(sorted(parts), at_once=_PARTS_AT_ONCE):
        for part in some:
            ordered += sorted(parts[part])
    return ordered


async def remove_terms(tx: Tx, scope: TenantScope, rows: Collection[Row]) -> None:
    """One statement, each row by its key."""
    await tx.run_many(_REMOVE[tx.dialect], [(scope.tenant_id, *row) for row in await in_key_order(rows)])


def state_from(row: Sequence[Any]) -> IndexState:
    """From `STATE_COLUMNS`, where the log ends, its epoch, and the chain hash there."""
    rules, fields, next_fields, begun, through, changes, indexed, ends, epoch, chain_hash = row
    return IndexState(
        rules, _read(fields), _read(next_fields), begun, through, changes, indexed, ends, epoch, chain_hash
    )


def _text(fields: Fields | None) -> str | None:
    return None if fields is None else msgspec.json.encode(fields).decode()


def _read(text: str | None) -> Fields | None:
    return None if text is None else _fields.decode(text)
