"""The log filed by place, so that a part of it is read like the whole: by position, from an index.

A place is the kind of an entity (`g` group, `i` individual), alone and with its area (`g/A1`): a reader limited to kinds
asks for kinds, one limited to areas for kinds in areas. An event is filed under every place its entity was in before it
or is in after it, so that moves and deletes reach those who are left.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import product

from datacollect.db import Reading, Tx
from datacollect.features.entities.entity import Kind, Place
from datacollect.features.entities.projection import Applied
from datacollect.features.sync.tables import event_places
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.sync_scope import Box, Reach

_LETTERS = {Kind.GROUP: "g", Kind.INDIVIDUAL: "i"}

_TABLE = event_places.name

_FILE = {
    "postgresql": f"""
INSERT INTO {_TABLE} (tenant_id, place, position)
SELECT $1, * FROM unnest($2::text[], $3::bigint[]) ON CONFLICT DO NOTHING""",
    "sqlite": f"INSERT INTO {_TABLE} (tenant_id, place, position) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
}

# Of each place the next few positions, then the first few of all: no place is read further than the page needs.
_READ = {
    "postgresql": f"""
SELECT DISTINCT next.position
FROM unnest($2::text[]) AS asked (place)
CROSS JOIN LATERAL (
  SELECT position FROM {_TABLE}
  WHERE tenant_id = $1 AND place = asked.place AND position > $3 ORDER BY position LIMIT $4) next
ORDER BY next.position LIMIT $4""",
    "sqlite": f"""
SELECT DISTINCT filed.position
FROM json_each(?2) AS asked
CROSS JOIN {_TABLE} filed ON filed.tenant_id = ?1 AND filed.place = asked.value AND filed.position IN (
  SELECT position FROM {_TABLE}
  WHERE tenant_id = ?1 AND place = asked.value AND position > ?3 ORDER BY position LIMIT ?4)
ORDER BY filed.position LIMIT ?4""",
}

# Whatever is filed is filed under its kind alone, too: the beginning of two ranges of the index.
_FIRST = {
    dialect: f"""
SELECT min(position) FROM (
  SELECT min(position) AS position FROM {_TABLE} WHERE tenant_id = {tenant} AND place = 'g'
  UNION ALL SELECT min(position) FROM {_TABLE} WHERE tenant_id = {tenant} AND place = 'i') AS filed"""
    for dialect, tenant in (("postgresql", "$1"), ("sqlite", "?1"))
}

# The last delete of each that was filed is filed where they were until then. Who never was there, because a group they were
# put into had been deleted, has the group's. Whatever is filed is filed under its kind alone, too.
_ENDED = {
    "postgresql": f"""
SELECT asked.guid FROM unnest($2::text[], $3::bigint[]) AS asked (guid, position)
CROSS JOIN LATERAL (
  SELECT COALESCE(max(e.position), asked.position) AS position FROM events e
  WHERE e.tenant_id = $1 AND e.entity_guid = asked.guid AND e.type IN ('delete-entity', 'resolve-duplicate')
  AND EXISTS (SELECT 1 FROM {_TABLE} f WHERE f.tenant_id = $1 AND f.place IN ('g', 'i') AND f.position = e.position)
) ended
WHERE EXISTS (
  SELECT 1 FROM unnest($4::text[]) AS mine (place)
  CROSS JOIN LATERAL (
    SELECT 1 FROM {_TABLE} WHERE tenant_id = $1 AND place = mine.place AND position = ended.position OFFSET 0) f)""",
    "sqlite": f"""
SELECT ended.guid FROM (
  SELECT asked.value AS guid, COALESCE((
    SELECT max(e.position) FROM events e
    WHERE e.tenant_id = ?1 AND e.entity_guid = asked.value AND e.type IN ('delete-entity', 'resolve-duplicate')
    AND EXISTS (SELECT 1 FROM {_TABLE} f WHERE f.tenant_id = ?1 AND f.place IN ('g', 'i') AND f.position = e.position)
  ), at.value) AS position
  FROM json_each(?2) AS asked JOIN json_each(?3) AS at ON at.key = asked.key) ended
WHERE EXISTS (
  SELECT 1 FROM json_each(?4) AS mine
  CROSS JOIN {_TABLE} f ON f.tenant_id = ?1 AND f.place = mine.value AND f.position = ended.position)""",
}


async def file_by_place(tx: Tx, scope: TenantScope, applied: Sequence[Applied]) -> None:
    """A follower: files a batch's events, by one statement; none for logs that nobody reads in parts."""
    filed = [
        (text, item.context.position)
        for item in applied
        for text in {text for p in item.places for text in texts_of(p)}
    ]
    if not filed:
        return
    if tx.dialect == "sqlite":
        await tx.run_many(_FILE["sqlite"], [(scope.tenant_id, *row) for row in filed])
    else:
        await tx.run(_FILE["postgresql"], scope.tenant_id, *map(list, zip(*filed, strict=True)))


async def read_places(
    view: Reading, scope: TenantScope, places: Collection[str], *, after: int, limit: int
) -> Sequence[int]:
    """The positions of the next events filed under any of these places."""
    rows = await view.fetch(_READ[view.dialect], scope.tenant_id, view.listed(places), after, limit)
    return [row[0] for row in rows]


async def first_filed(view: Reading, scope: TenantScope) -> int | None:
    """The position from which on the log is filed; None if nothing is."""
    [(position,)] = await view.fetch(_FIRST[view.dialect], scope.tenant_id)
    return None if position is None else int(position)


async def ended_within(view: Reading, scope: TenantScope, ends: Mapping[str, int]) -> Collection[str]:
    """Those who were within the caller's reach when they were deleted. Implements `Ends`."""
    guids, positions, mine = view.listed(list(ends)), view.listed(list(ends.values())), places_within(scope.reach)
    rows = await view.fetch(_ENDED[view.dialect], scope.tenant_id, guids, positions, view.listed(mine))
    return {row[0] for row in rows}


def texts_of(place: Place) -> Sequence[str]:
    """The texts under which an event of an entity in that place is filed."""
    letter = _LETTERS[place.kind]
    return (letter,) if place.area is None else (letter, f"{letter}/{place.area}")


def places_within(reach: Reach) -> Sequence[str]:
    """The texts a reader of that reach asks for."""
    return [place for box in reach.boxes for place in _places_in(box)]


def _places_in(box: Box) -> Sequence[str]:
    kinds = [letter for kind, letter in _LETTERS.items() if box.includes_kind(kind)]
    if box.area_ids is None:
        return kinds
    return [f"{letter}/{area}" for letter, area in product(kinds, sorted(box.area_ids))]
