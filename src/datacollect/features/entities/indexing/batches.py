"""SQL of work on whole indexes: entities and rows, some at a time."""

from collections.abc import Sequence
from typing import NamedTuple

from datacollect.db import EVERY_TENANT, Database, Reading, Tx
from datacollect.db.turns import in_turns
from datacollect.features.entities.entity import Entity
from datacollect.features.entities.indexing.queries import STATES, TERMS, Row
from datacollect.features.entities.indexing.state import RULES
from datacollect.features.entities.listings import LISTED
from datacollect.features.entities.rows import SELECT_ENTITY, entity_from, json_text
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

# What one event changed has one position, and stays together: a batch ends between two positions. A partial index is used
# only where its condition is written as the index has it.
_LIST_CHANGED = {
    "postgresql": f"""
{SELECT_ENTITY} FROM {LISTED["postgresql"]} WHERE l.tenant_id = $1 AND NOT e.deleted AND l.position > $2
AND l.position <= COALESCE(
  (SELECT l.position FROM {LISTED["postgresql"]} WHERE l.tenant_id = $1 AND NOT e.deleted AND l.position > $2
   AND l.position <= $3 ORDER BY l.position OFFSET $4 LIMIT 1), $3)
ORDER BY l.position""",
    "sqlite": f"""
{SELECT_ENTITY} FROM {LISTED["sqlite"]} WHERE l.tenant_id = ?1 AND e.deleted = 0 AND l.position > ?2
AND l.position <= COALESCE(
  (SELECT l.position FROM {LISTED["sqlite"]} WHERE l.tenant_id = ?1 AND e.deleted = 0 AND l.position > ?2
   AND l.position <= ?3 ORDER BY l.position LIMIT 1 OFFSET ?4), ?3)
ORDER BY l.position""",
}

_UNCHANGED = {
    "postgresql": f"""
SELECT e.guid FROM {LISTED["postgresql"]} WHERE l.tenant_id = $1 AND NOT e.deleted AND l.position > $2
AND l.position <= $3 ORDER BY l.position""",
    "sqlite": f"""
SELECT e.guid FROM {LISTED["sqlite"]} WHERE l.tenant_id = ?1 AND e.deleted = 0 AND l.position > ?2
AND l.position <= ?3 ORDER BY l.position""",
}

_CHANGED = {
    "postgresql": f"""
SELECT e.guid FROM {LISTED["postgresql"]} WHERE l.tenant_id = $1 AND NOT e.deleted AND l.position > $2
UNION ALL SELECT e.guid FROM entities e WHERE e.tenant_id = $1 AND e.gone_position > 0 AND e.gone_position > $2""",
    "sqlite": f"""
SELECT e.guid FROM {LISTED["sqlite"]} WHERE l.tenant_id = ?1 AND e.deleted = 0 AND l.position > ?2
UNION ALL SELECT e.guid FROM entities e WHERE e.tenant_id = ?1 AND e.gone_position > 0 AND e.gone_position > ?2""",
}

_HAD = {
    "postgresql": "SELECT 1 FROM events WHERE tenant_id = $1 AND position = $2 AND chain_hash = $3",
    "sqlite": "SELECT 1 FROM events WHERE tenant_id = ?1 AND position = ?2 AND chain_hash = ?3",
}

_END = {
    "postgresql": f"""
SELECT field, term, guid FROM {TERMS} WHERE tenant_id = $1 ORDER BY field, term, guid OFFSET $2 LIMIT 1""",
    "sqlite": f"""
SELECT field, term, guid FROM {TERMS} WHERE tenant_id = ?1 ORDER BY field, term, guid LIMIT 1 OFFSET ?2""",
}
_DELETE_THROUGH = {
    "postgresql": f"DELETE FROM {TERMS} WHERE tenant_id = $1 AND (field, term, guid) <= ($2, $3, $4)",
    "sqlite": f"DELETE FROM {TERMS} WHERE tenant_id = ?1 AND (field, term, guid) <= (?2, ?3, ?4)",
}
_DELETE_ALL = {
    "postgresql": f"DELETE FROM {TERMS} WHERE tenant_id = $1",
    "sqlite": f"DELETE FROM {TERMS} WHERE tenant_id = ?1",
}

_LIST_ROWS = {
    "postgresql": f"""
SELECT field, term, guid FROM {TERMS} WHERE tenant_id = $1 AND (field, term, guid) > ($2, $3, $4)
ORDER BY field, term, guid LIMIT $5""",
    "sqlite": f"""
SELECT field, term, guid FROM {TERMS} WHERE tenant_id = ?1 AND (field, term, guid) > (?2, ?3, ?4)
ORDER BY field, term, guid LIMIT ?5""",
}
_WHICH_ARE_THERE = {
    "postgresql": f"""
SELECT asked.field, asked.term, asked.guid FROM unnest($2::text[], $3::text[], $4::text[]) AS asked (field, term, guid)
CROSS JOIN LATERAL (SELECT 1 FROM {TERMS} t WHERE t.tenant_id = $1 AND t.field = asked.field AND t.term = asked.term
                    AND t.guid = asked.guid OFFSET 0) found""",
    "sqlite": f"""
SELECT t.field, t.term, t.guid FROM json_each(?2) AS asked
CROSS JOIN {TERMS} t ON t.tenant_id = ?1 AND t.field = asked.value ->> 0 AND t.term = asked.value ->> 1
AND t.guid = asked.value ->> 2""",
}

_WITHOUT_INDEX = """
SELECT h.tenant_id FROM log_heads h LEFT JOIN search_indexes s ON s.tenant_id = h.tenant_id
WHERE h.position > 0 AND (s.tenant_id IS NULL OR s.rules <> {rules} OR s.fields IS NULL
                         OR s.next_fields IS NOT NULL) ORDER BY h.tenant_id"""

_BEHIND = f"""
SELECT h.tenant_id FROM log_heads h JOIN {STATES} s ON s.tenant_id = h.tenant_id
WHERE s.indexed_position < h.position ORDER BY h.tenant_id"""


_COLUMNS = 9
"""Of `SELECT_ENTITY`."""
_MOST_BYTES = 16 * 1024 * 1024
"""Of the data of entities that are looked at together."""


class Batch(NamedTuple):
    entities: Sequence[Entity]
    through: int
    """All entities last changed after the position asked for, up to this one, are there."""


async def list_changed(
    view: Reading, scope: TenantScope, *, after: int, to: int, limit: int, most_bytes: int = _MOST_BYTES
) -> Batch:
    """The entities that exist and were last changed next, about `limit` of them, in the order of their changes; fewer
    where their data come to `most_bytes`, but at least those of one position."""
    rows, is_cut = await view.fetch_portion(
        _LIST_CHANGED[view.dialect], scope.tenant_id, after, to, limit - 1, texts=("data",), most_bytes=most_bytes
    )
    found: list[Entity] = []
    async for some in in_turns(rows):
        found += [entity_from(row[:_COLUMNS]) for row in some]
    if not is_cut:
        return Batch(found, found[-1].changed_position if len(found) >= limit else to)
    last = found[-1].changed_position
    whole = [entity for entity in found if entity.changed_position < last]
    if whole:
        return Batch(whole, whole[-1].changed_position)
    # One event has changed so much.
    rows = await view.fetch(_LIST_CHANGED[view.dialect], scope.tenant_id, after, last, limit - 1)
    return Batch([entity_from(row) for row in rows], last)


async def unchanged_among(tx: Tx, scope: TenantScope, *, after: int, to: int) -> set[str]:
    """The guids of the entities that exist and were last changed in between: few, or the caller has read them before."""
    return {row[0] for row in await tx.fetch(_UNCHANGED[tx.dialect], scope.tenant_id, after, to)}


async def changed_behind(tx: Tx, scope: TenantScope, position: int) -> set[str]:
    """The guids of what has changed behind a position, also of what is gone: few, or the caller has looked just now."""
    return {row[0] for row in await tx.fetch(_CHANGED[tx.dialect], scope.tenant_id, position)}


async def is_still(tx: Tx, scope: TenantScope, position: int, chain_hash: bytes) -> bool:
    """Whether the log is still the same up to that position: a database that took over may lack its last events."""
    return bool(await tx.fetch(_HAD[tx.dialect], scope.tenant_id, position, chain_hash))


async def discard_some(tx: Tx, scope: TenantScope, *, limit: int) -> bool:
    """Delete some of the program's rows; whether there may be more."""
    ends = await tx.fetch(_END[tx.dialect], scope.tenant_id, limit)
    if ends:
        await tx.run(_DELETE_THROUGH[tx.dialect], scope.tenant_id, *ends[0])
    else:
        await tx.run(_DELETE_ALL[tx.dialect], scope.tenant_id)
    return bool(ends)


async def list_rows(view: Reading, scope: TenantScope, after: Row, *, limit: int) -> Sequence[Row]:
    rows = await view.fetch(_LIST_ROWS[view.dialect], scope.tenant_id, *after, limit)
    return [(row[0], row[1], row[2]) for row in rows]


async def which_are_there(view: Reading, scope: TenantScope, rows: Sequence[Row]) -> set[Row]:
    if view.dialect == "sqlite":
        found = await view.fetch(_WHICH_ARE_THERE["sqlite"], scope.tenant_id, json_text(rows))
    else:
        columns = map(list, zip(*rows, strict=True)) if rows else [[], [], []]
        found = await view.fetch(_WHICH_ARE_THERE["postgresql"], scope.tenant_id, *columns)
    return {(row[0], row[1], row[2]) for row in found}


async def programs_without_index(database: Database) -> Sequence[TenantId]:
    """Those whose entities are not all in an index, or in one that was made by other rules."""
    async with database.reading(EVERY_TENANT) as view:
        return [TenantId(row[0]) for row in await view.fetch(_WITHOUT_INDEX.format(rules=RULES))]


async def programs_behind(database: Database) -> Sequence[TenantId]:
    """Those whose newest entities may lack terms."""
    async with database.reading(EVERY_TENANT) as view:
        return [TenantId(row[0]) for row in await view.fetch(_BEHIND)]
