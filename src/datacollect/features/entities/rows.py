"""Loading and storing states: the slice's hot statements, written by hand for each engine."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from datacollect.db import Reading, Tx
from datacollect.features.entities.entity import Entity, FormerName, Kind, Membership, Stamp
from datacollect.features.entities.model import States
from datacollect.features.entities.reach import LONGEST_ANCESTRY
from datacollect.features.entities.touched import Touched
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

# -- loading

# Entities (part 0) and memberships (part 1) come in one shape, so that one statement brings both.
_ENTITY = """
SELECT 0, e.guid, e.type, e.version, CAST(e.data AS text), e.stamps, e.deleted, e.changed_position, e.last_updated"""
_MEMBER = "SELECT m.group_guid, m.member_guid, m.ordinal, m.present, m.stamp_ms, m.stamp_position"


# `below`: what hangs under the entities that may be deleted, however deep. `above`: the groups over those that get
# members. UNION lets each guid in once, which also ends cycles. Of what is below, the other groups it is in are
# needed too, with their entities: what is in a group that lives is not deleted.
def _load_with_members(*, join: str, tenant: str, guids: str, cascading: str, receiving: str, pairs: str) -> str:
    """The statement; `join` is how an engine joins `{table}` on `{on}` without walking through it."""

    def members(on: str) -> str:
        return join.format(table="members", name="m", on=f"m.tenant_id = {tenant} AND {on}")

    entities = join.format(table="entities", name="e", on=f"e.tenant_id = {tenant} AND e.guid = wanted.guid")
    return f"""
WITH RECURSIVE
below (guid) AS (
  {cascading}
  UNION
  SELECT m.member_guid FROM below {members("m.group_guid = below.guid AND m.present")}),
above (guid) AS (
  {receiving}
  UNION
  SELECT m.group_guid FROM above {members("m.member_guid = above.guid AND m.present")}),
loaded (group_guid, member_guid, ordinal, present, stamp_ms, stamp_position) AS (
  {_MEMBER} FROM ({pairs}) AS pair {members("m.group_guid = pair.group_guid AND m.member_guid = pair.member_guid")}
  UNION {_MEMBER} FROM below {members("m.group_guid = below.guid")}
  UNION {_MEMBER} FROM below {members("m.member_guid = below.guid")}
  UNION {_MEMBER} FROM above {members("m.member_guid = above.guid")}),
wanted (guid) AS ({guids} UNION SELECT guid FROM below UNION SELECT group_guid FROM loaded)
{_ENTITY} FROM wanted {entities}
UNION ALL
SELECT 1, group_guid, member_guid, ordinal, NULL, NULL, present, stamp_ms, stamp_position FROM loaded"""


_LOAD = {
    "postgresql": f"{_ENTITY} FROM entities e WHERE e.tenant_id = $1 AND e.guid = ANY($2::text[])",
    "sqlite": f"{_ENTITY} FROM json_each(?2) AS asked CROSS JOIN entities e ON e.tenant_id = ?1 AND e.guid = asked.value",
}
_LOAD_ALL = {
    "postgresql": _load_with_members(
        # PostgreSQL expects far more guids than there ever are, and would read all of the tenant to hash them. OFFSET
        # keeps it from taking the inner query apart, so that each guid is looked up by its key.
        join="CROSS JOIN LATERAL (SELECT * FROM {table} {name} WHERE {on} OFFSET 0) {name}",
        tenant="$1",
        guids="SELECT unnest($2::text[])",
        cascading="SELECT unnest($3::text[])",
        receiving="SELECT unnest($4::text[])",
        pairs="SELECT * FROM unnest($5::text[], $6::text[]) AS named (group_guid, member_guid)",
    ),
    "sqlite": _load_with_members(
        # Keeps SQLite, which has no statistics, from walking through all of the tenant's rows.
        join="CROSS JOIN {table} {name} ON {on}",
        tenant="?1",
        guids="SELECT value FROM json_each(?2)",
        cascading="SELECT value FROM json_each(?3)",
        receiving="SELECT value FROM json_each(?4)",
        pairs="SELECT value ->> 0 AS group_guid, value ->> 1 AS member_guid FROM json_each(?5)",
    ),
}


async def load(tx: Reading, scope: TenantScope, needed: Touched) -> States:
    """The states an append needs, by one statement."""
    sqlite = tx.dialect == "sqlite"
    lists: list[Any] = [list(needed.guids)]
    statement = _LOAD
    if needed.memberships:
        statement = _LOAD_ALL
        lists += [list(needed.cascading), list(needed.receiving)]
        pairs = list(needed.pairs)
        lists += [pairs] if sqlite else [[pair[0] for pair in pairs], [pair[1] for pair in pairs]]
    parameters = map(_json, lists) if sqlite else lists
    states = States()
    for row in await tx.fetch(statement[tx.dialect], scope.tenant_id, *parameters):
        if row[0] == 0:
            states.put(_entity_from(row))
        else:
            _, group, member, ordinal, _, _, present, time, position = row
            states.put_membership(Membership(group, member, ordinal, bool(present), Stamp(time, position)))
    return states


_LIST_AFTER = {
    "postgresql": f"{_ENTITY} FROM entities e WHERE e.tenant_id = $1 AND e.guid > $2 AND NOT e.deleted ORDER BY e.guid LIMIT $3",
    "sqlite": f"{_ENTITY} FROM entities e WHERE e.tenant_id = ?1 AND e.guid > ?2 AND NOT e.deleted ORDER BY e.guid LIMIT ?3",
}


async def list_after(tx: Tx, scope: TenantScope, guid: str, *, limit: int) -> Sequence[Entity]:
    """The next entities that exist, by guid."""
    return [_entity_from(row) for row in await tx.fetch(_LIST_AFTER[tx.dialect], scope.tenant_id, guid, limit)]


_LOAD_PARENTS = {
    "postgresql": f"""
WITH RECURSIVE above (guid, height) AS (
  SELECT unnest($2::text[]), 1
  UNION
  SELECT e.parent_guid, above.height + 1
  FROM above CROSS JOIN LATERAL (SELECT * FROM entities e WHERE e.tenant_id = $1 AND e.guid = above.guid OFFSET 0) e
  WHERE (e.type = 'record' OR e.area_id IS NULL) AND e.parent_guid IS NOT NULL AND above.height < $3::int)
{_ENTITY} FROM (SELECT DISTINCT guid FROM above) AS wanted
CROSS JOIN LATERAL (SELECT * FROM entities e WHERE e.tenant_id = $1 AND e.guid = wanted.guid OFFSET 0) e""",
    "sqlite": f"""
WITH RECURSIVE above (guid, height) AS (
  SELECT value, 1 FROM json_each(?2)
  UNION
  SELECT e.parent_guid, above.height + 1
  FROM above CROSS JOIN entities e ON e.tenant_id = ?1 AND e.guid = above.guid
  WHERE (e.type = 'record' OR e.area_id IS NULL) AND e.parent_guid IS NOT NULL AND above.height < ?3)
{_ENTITY} FROM (SELECT DISTINCT guid FROM above) AS wanted
CROSS JOIN entities e ON e.tenant_id = ?1 AND e.guid = wanted.guid""",
}


async def load_parents(tx: Reading, scope: TenantScope, states: States, named: Iterable[str]) -> None:
    """Add to `states` the parents that decide where its entities are, and those that are named."""
    held = states.entities
    placeless = (entity for entity in held.values() if entity.kind is Kind.RECORD or entity.area_id is None)
    missing = sorted({entity.parent_guid for entity in placeless if entity.parent_guid}.union(named) - held.keys())
    if not missing:
        return
    asked = _json(missing) if tx.dialect == "sqlite" else missing
    for row in await tx.fetch(_LOAD_PARENTS[tx.dialect], scope.tenant_id, asked, LONGEST_ANCESTRY):
        entity = _entity_from(row)
        if entity.guid not in held:
            states.put(entity)


_DEPENDENTS = {
    "postgresql": """
WITH RECURSIVE below (guid) AS (
  SELECT unnest($2::text[])
  UNION
  SELECT e.guid
  FROM below CROSS JOIN LATERAL (
    SELECT guid FROM entities
    WHERE tenant_id = $1 AND parent_guid = below.guid AND NOT deleted AND (type = 'record' OR area_id IS NULL) OFFSET 0
  ) e)
SELECT guid FROM below""",
    "sqlite": """
WITH RECURSIVE below (guid) AS (
  SELECT value FROM json_each(?2)
  UNION
  SELECT e.guid
  FROM below CROSS JOIN entities e INDEXED BY ix_entities_parent ON e.tenant_id = ?1 AND e.parent_guid = below.guid
  WHERE NOT e.deleted AND e.parent_guid IS NOT NULL AND (e.type = 'record' OR e.area_id IS NULL))
SELECT guid FROM below""",
}


async def dependents_of(tx: Tx, scope: TenantScope, guids: Collection[str]) -> Sequence[str]:
    """Those entities and all whose place follows from theirs."""
    asked = _json(list(guids)) if tx.dialect == "sqlite" else list(guids)
    return [row[0] for row in await tx.fetch(_DEPENDENTS[tx.dialect], scope.tenant_id, asked)]


class ListedMember(NamedTuple):
    """A member of a group, as far as its group tells of it."""

    guid: str
    kind: str
    entity_name: str | None
    area_id: str | None


_MEMBERS_OF = {
    "postgresql": """
SELECT m.group_guid, m.member_guid, e.type, e.entity_name, e.area_id
FROM unnest($2::text[]) AS asked (guid)
CROSS JOIN LATERAL (
  SELECT * FROM members WHERE tenant_id = $1 AND group_guid = asked.guid AND present OFFSET 0) m
CROSS JOIN LATERAL (
  SELECT type, entity_name, area_id FROM entities WHERE tenant_id = $1 AND guid = m.member_guid AND NOT deleted OFFSET 0) e
ORDER BY m.group_guid, m.ordinal, m.member_guid""",
    "sqlite": """
SELECT m.group_guid, m.member_guid, e.type, e.entity_name, e.area_id
FROM json_each(?2) AS asked
CROSS JOIN members m ON m.tenant_id = ?1 AND m.group_guid = asked.value AND m.present
CROSS JOIN entities e ON e.tenant_id = ?1 AND e.guid = m.member_guid AND NOT e.deleted
ORDER BY m.group_guid, m.ordinal, m.member_guid""",
}


async def members_of_groups(
    tx: Tx, scope: TenantScope, groups: Collection[str]
) -> Mapping[str, Sequence[ListedMember]]:
    """Each member that exists, by group, in the order in which they joined."""
    asked = _json(list(groups)) if tx.dialect == "sqlite" else list(groups)
    found: dict[str, list[ListedMember]] = {}
    for group, *member in await tx.fetch(_MEMBERS_OF[tx.dialect], scope.tenant_id, asked):
        found.setdefault(group, []).append(ListedMember(*member))
    return found


def _entity_from(row: Sequence[Any]) -> Entity:
    _, guid, kind, version, data, stamps, deleted, position, updated = row
    base, exceptions, latest, last_delete, former = _read_stamps(stamps, deleted)
    return Entity(
        guid,
        Kind(kind) if kind is not None else None,
        version,
        msgspec.json.decode(data),
        base,
        exceptions,
        latest,
        last_delete,
        former,
        position,
        Millis(updated),
    )


# -- storing

_ENTITY_COLUMNS = "guid, type, entity_name, name, area_id, parent_guid, version, data, stamps, deleted, changed_position, last_updated"
_MEMBER_COLUMNS = "group_guid, member_guid, ordinal, present, stamp_ms, stamp_position"


def _overwrite(key: str, columns: str) -> str:
    names = [column for column in columns.split(", ") if column not in key.split(", ")]
    return f"ON CONFLICT ({key}) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in names)


_UPDATE_ENTITY = _overwrite("tenant_id, guid", _ENTITY_COLUMNS)
_UPDATE_MEMBER = _overwrite("tenant_id, group_guid, member_guid", _MEMBER_COLUMNS)

_SAVE_ENTITIES = {
    "postgresql": f"""
INSERT INTO entities (tenant_id, {_ENTITY_COLUMNS})
SELECT $1, {_ENTITY_COLUMNS.replace(" data,", " data::jsonb,")}
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int[], $9::text[], $10::text[],
            $11::bool[], $12::bigint[], $13::bigint[]) AS changed ({_ENTITY_COLUMNS})
{_UPDATE_ENTITY}""",
    "sqlite": f"""
INSERT INTO entities (tenant_id, {_ENTITY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
{_UPDATE_ENTITY}""",
}
_SAVE_MEMBERS = {
    "postgresql": f"""
INSERT INTO members (tenant_id, {_MEMBER_COLUMNS})
SELECT $1, {_MEMBER_COLUMNS}
FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bool[], $6::bigint[], $7::bigint[])
  AS changed ({_MEMBER_COLUMNS})
{_UPDATE_MEMBER}""",
    "sqlite": f"""
INSERT INTO members (tenant_id, {_MEMBER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)
{_UPDATE_MEMBER}""",
}


async def save_entities(tx: Tx, scope: TenantScope, changed: Iterable[Entity]) -> None:
    await _save(tx, scope, _SAVE_ENTITIES[tx.dialect], [_entity_values(entity) for entity in changed])


async def save_memberships(tx: Tx, scope: TenantScope, changed: Iterable[Membership]) -> None:
    rows = [(m.group_guid, m.member_guid, m.ordinal, m.present, *m.stamp) for m in changed]
    await _save(tx, scope, _SAVE_MEMBERS[tx.dialect], rows)


async def _save(tx: Tx, scope: TenantScope, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if not rows:
        return
    if tx.dialect == "sqlite":
        await tx.run_many(sql, [(scope.tenant_id, *row) for row in rows])
    else:
        await tx.run(sql, scope.tenant_id, *map(list, zip(*rows, strict=True)))


def _entity_values(entity: Entity) -> tuple[Any, ...]:
    """The values of `_ENTITY_COLUMNS`."""
    return (
        entity.guid,
        entity.kind.value if entity.kind is not None else None,
        entity.entity_name,
        entity.name,
        entity.area_id,
        entity.parent_guid,
        entity.version,
        _json(entity.data),
        _write_stamps(entity),
        not entity.is_live,
        entity.changed_position,
        entity.last_updated,
    )


# -- stamps
#
# `[time, position]` when one event wrote all fields, which is what most entities have. Else behind it, as far as there
# is anything: the fields with other stamps, the latest write (null: the base), the last delete, the former name.

_encoder = msgspec.json.Encoder()


def _json(value: Any) -> str:
    return _encoder.encode(value).decode()


def _write_stamps(entity: Entity) -> str:
    base, latest, former = entity.base, entity.latest, entity.former_name
    if latest == base and not entity.exceptions and entity.deleted is None and former is None:
        return f"[{base.time},{base.position}]"
    parts = (
        base.time,
        base.position,
        entity.exceptions,
        None if latest == base else latest,
        entity.deleted,
        None if former is None else (former.name, *former.stamp),
    )
    return _json(parts)


_Stamps = tuple[Stamp, dict[str, Stamp], Stamp | None, Stamp | None, FormerName | None]


def _read_stamps(text: str, dead: bool) -> _Stamps:
    base_time, base_position, *more = msgspec.json.decode(text)
    base = Stamp(base_time, base_position)
    if not more:
        return base, {}, base, None, None
    exceptions, latest, deleted, former = more
    return (
        base,
        {field: Stamp(*stamp) for field, stamp in exceptions.items()},
        None if dead else Stamp(*latest) if latest else base,
        Stamp(*deleted) if deleted else None,
        FormerName(former[0], Stamp(*former[1:])) if former else None,
    )
