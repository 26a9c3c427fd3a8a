"""Reading what decides where entities are, and what must be told with them, one statement each."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from datacollect.db import Reading, Tx
from datacollect.db.database import Dialect
from datacollect.db.turns import in_turns
from datacollect.eventstore.lookup import events_at
from datacollect.features.entities.entity import Entity, Kind, Membership, Stamp
from datacollect.features.entities.model import is_merge
from datacollect.features.entities.reach import LONGEST_ANCESTRY
from datacollect.features.entities.rows import SELECT_ENTITY, SELECT_PLACE, entity_from, place_from
from datacollect.features.entities.states import States
from datacollect.features.entities.touched import Touched
from datacollect.kernel.identity import TenantScope

_LIST_AFTER = {
    "postgresql": f"{SELECT_ENTITY} FROM entities e WHERE e.tenant_id = $1 AND e.guid > $2 AND NOT e.deleted ORDER BY e.guid LIMIT $3",
    "sqlite": f"{SELECT_ENTITY} FROM entities e WHERE e.tenant_id = ?1 AND e.guid > ?2 AND NOT e.deleted ORDER BY e.guid LIMIT ?3",
}


async def list_after(tx: Tx, scope: TenantScope, guid: str, *, limit: int) -> Sequence[Entity]:
    """The next entities that exist, by guid."""
    return [entity_from(row) for row in await tx.fetch(_LIST_AFTER[tx.dialect], scope.tenant_id, guid, limit)]


def _with_all_above(select: str) -> Mapping[Dialect, str]:
    """Statements that find some entities, and the parents that decide where those are."""
    return {
        "postgresql": f"""
WITH RECURSIVE above (guid, height) AS (
  SELECT unnest($2::text[]) COLLATE "C", 1
  UNION
  SELECT e.parent_guid, above.height + 1
  FROM above CROSS JOIN LATERAL (SELECT * FROM entities e WHERE e.tenant_id = $1 AND e.guid = above.guid OFFSET 0) e
  WHERE (e.type = 'record' OR e.area_id IS NULL) AND e.parent_guid IS NOT NULL AND above.height < $3::int)
{select} FROM (SELECT DISTINCT guid FROM above) AS wanted
CROSS JOIN LATERAL (SELECT * FROM entities e WHERE e.tenant_id = $1 AND e.guid = wanted.guid OFFSET 0) e""",
        "sqlite": f"""
WITH RECURSIVE above (guid, height) AS (
  SELECT value, 1 FROM json_each(?2)
  UNION
  SELECT e.parent_guid, above.height + 1
  FROM above CROSS JOIN entities e ON e.tenant_id = ?1 AND e.guid = above.guid
  WHERE (e.type = 'record' OR e.area_id IS NULL) AND e.parent_guid IS NOT NULL AND above.height < ?3)
{select} FROM (SELECT DISTINCT guid FROM above) AS wanted
CROSS JOIN entities e ON e.tenant_id = ?1 AND e.guid = wanted.guid""",
    }


_LOAD_PARENTS = _with_all_above(SELECT_ENTITY)
_LOAD_PLACES = _with_all_above(SELECT_PLACE)
_PLACES_AT_ONCE = 500


async def load_parents(tx: Reading, scope: TenantScope, states: States, named: Iterable[str]) -> None:
    """Add to `states` the parents that decide where its entities are, and those that are named."""
    held = states.entities
    placeless = (entity for entity in held.values() if entity.kind is Kind.RECORD or entity.area_id is None)
    missing = sorted({entity.parent_guid for entity in placeless if entity.parent_guid}.union(named) - held.keys())
    if not missing:
        return
    for row in await tx.fetch(_LOAD_PARENTS[tx.dialect], scope.tenant_id, tx.listed(missing), LONGEST_ANCESTRY):
        entity = entity_from(row)
        if entity.guid not in held:
            states.put(entity)


async def places_of(view: Reading, scope: TenantScope, guids: Collection[str]) -> Mapping[str, Entity]:
    """The entities and the parents that decide where they are, by guid, as far as `place_from` tells of them: one
    statement for each `_PLACES_AT_ONCE`."""
    found: dict[str, Entity] = {}
    async for some in in_turns(sorted(guids), at_once=_PLACES_AT_ONCE):
        for row in await view.fetch(_LOAD_PLACES[view.dialect], scope.tenant_id, view.listed(some), LONGEST_ANCESTRY):
            found[row[0]] = place_from(row)
    return found


async def load_merges(view: Reading, scope: TenantScope, states: States, needed: Touched) -> None:
    """Add to `states` which of those that get members, or are deleted, were ended by a merge; no statement if none has
    ended."""
    held = (states.entities.get(guid) for guid in needed.receiving | needed.cascading)
    ends = {entity.deleted.position for entity in held if entity is not None and entity.deleted is not None}
    if ends:
        found = await events_at(view, scope, ends)
        states.merges.update(position for position, (event, origin) in found.items() if is_merge(event, origin))


_DEPENDENTS = {
    "postgresql": """
WITH RECURSIVE below (guid) AS (
  SELECT unnest($2::text[]) COLLATE "C"
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
    return [row[0] for row in await tx.fetch(_DEPENDENTS[tx.dialect], scope.tenant_id, tx.listed(guids))]


_CHILDREN = {
    "postgresql": f"""
{SELECT_ENTITY} FROM entities e WHERE e.tenant_id = $1 AND e.parent_guid = $2 AND NOT e.deleted ORDER BY e.guid LIMIT $3""",
    "sqlite": f"""
{SELECT_ENTITY} FROM entities e INDEXED BY ix_entities_parent
WHERE e.tenant_id = ?1 AND e.parent_guid = ?2 AND NOT e.deleted ORDER BY e.guid LIMIT ?3""",
}


async def children_of(tx: Tx, scope: TenantScope, guid: str, *, limit: int) -> Sequence[Entity]:
    """The entities that exist whose parent it is."""
    return [entity_from(row) for row in await tx.fetch(_CHILDREN[tx.dialect], scope.tenant_id, guid, limit)]


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
    tx: Reading, scope: TenantScope, groups: Collection[str]
) -> Mapping[str, Sequence[ListedMember]]:
    """Each member that exists, by group, in the order in which they joined."""
    found: dict[str, list[ListedMember]] = {}
    for group, *member in await tx.fetch(_MEMBERS_OF[tx.dialect], scope.tenant_id, tx.listed(groups)):
        found.setdefault(group, []).append(ListedMember(*member))
    return found


_TAKEN_OUT = {
    "postgresql": """
SELECT m.group_guid, m.member_guid, m.ordinal, m.present, m.stamp_ms, m.stamp_position
FROM unnest($2::text[]) AS asked (guid)
CROSS JOIN LATERAL (
  SELECT * FROM members WHERE tenant_id = $1 AND group_guid = asked.guid AND NOT present OFFSET 0) m
CROSS JOIN LATERAL (
  SELECT 1 FROM entities
  WHERE tenant_id = $1 AND guid = m.member_guid AND deleted AND changed_position < m.stamp_position OFFSET 0) e
CROSS JOIN LATERAL (
  SELECT 1 FROM events
  WHERE tenant_id = $1 AND position = m.stamp_position AND origin <> 'derived' AND type = 'remove-member' OFFSET 0) said""",
    "sqlite": """
SELECT m.group_guid, m.member_guid, m.ordinal, m.present, m.stamp_ms, m.stamp_position
FROM json_each(?2) AS asked
CROSS JOIN members m ON m.tenant_id = ?1 AND m.group_guid = asked.value AND NOT m.present
CROSS JOIN entities e ON e.tenant_id = ?1 AND e.guid = m.member_guid AND e.deleted AND e.changed_position < m.stamp_position
CROSS JOIN events said ON said.tenant_id = ?1 AND said.position = m.stamp_position
  AND said.origin <> 'derived' AND said.type = 'remove-member'""",
}


async def taken_out_gone(view: Reading, scope: TenantScope, groups: Collection[str]) -> Sequence[Membership]:
    """The memberships in these groups of those who did not exist any more when somebody took them out; none for none."""
    return await _memberships(view, scope, _TAKEN_OUT[view.dialect], groups)


_WORDS_ON = {
    "postgresql": """
SELECT m.group_guid, m.member_guid, m.ordinal, m.present, m.stamp_ms, m.stamp_position
FROM unnest($2::text[]) AS asked (guid)
CROSS JOIN LATERAL (SELECT * FROM members WHERE tenant_id = $1 AND member_guid = asked.guid OFFSET 0) m""",
    "sqlite": """
SELECT m.group_guid, m.member_guid, m.ordinal, m.present, m.stamp_ms, m.stamp_position
FROM json_each(?2) AS asked CROSS JOIN members m ON m.tenant_id = ?1 AND m.member_guid = asked.value""",
}


async def memberships_of(view: Reading, scope: TenantScope, members: Collection[str]) -> Sequence[Membership]:
    """The last word on each membership of theirs, ended ones included; none for none."""
    return await _memberships(view, scope, _WORDS_ON[view.dialect], members)


async def _memberships(view: Reading, scope: TenantScope, sql: str, guids: Collection[str]) -> Sequence[Membership]:
    rows = await view.fetch(sql, scope.tenant_id, view.listed(sorted(guids))) if guids else []
    return [
        Membership(group, member, ordinal, bool(present), Stamp(time, position))
        for group, member, ordinal, present, time, position in rows
    ]
