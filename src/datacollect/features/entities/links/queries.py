"""SQL of links, and of what changed in the order of changes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import Column, exists, select, update

from datacollect.db import Reading, Tx, insert_into
from datacollect.db.keys import rows_with
from datacollect.features.entities.links.tables import external_current, external_links
from datacollect.features.entities.listings import LISTED
from datacollect.features.entities.tables import members
from datacollect.kernel.identity import TenantScope

_l = external_links.c
_KEYS_A_STATEMENT = 5000


@dataclass(frozen=True, slots=True)
class StoredLink:
    """An entity's twin in one other system."""

    guid: str
    external_id: str
    version: str | None = None
    state: Mapping[str, Any] = field(default_factory=dict)


async def links_of(view: Reading, scope: TenantScope, system: str, guids: Collection[str]) -> Mapping[str, StoredLink]:
    """By guid; one statement for some thousands of them, none for none."""
    return {link.guid: link for link in await _links(view, scope, system, _l.guid, guids)}


async def links_to(
    view: Reading, scope: TenantScope, system: str, external_ids: Collection[str]
) -> Mapping[str, StoredLink]:
    """By the key in the other system; as `links_of`."""
    return {link.external_id: link for link in await _links(view, scope, system, _l.external_id, external_ids)}


async def _links(
    view: Reading, scope: TenantScope, system: str, column: Column[str], keys: Collection[str]
) -> list[StoredLink]:
    found: list[StoredLink] = []
    left = iter(sorted(keys))
    while some := list(islice(left, _KEYS_A_STATEMENT)):
        wanted = rows_with(view, column, some, _l.tenant_id == scope.tenant_id, _l.system == system)
        found += map(_link, await view.execute(select(wanted)))
    return found


async def guids_linked_to(view: Reading, scope: TenantScope, external_ids: Collection[str]) -> Sequence[str]:
    """The entities with these twins in the system that the program works with."""
    system = select(external_current.c.system).where(external_current.c.tenant_id == scope.tenant_id)
    within = (_l.tenant_id == scope.tenant_id, _l.system == system.scalar_subquery())
    found = select(rows_with(view, _l.external_id, sorted(external_ids), *within).c.guid)
    return (await view.execute(found)).scalars().all()


async def keep_links(tx: Tx, scope: TenantScope, system: str, links: Sequence[StoredLink]) -> None:
    """In place of those that the entities had. No other entity may have one of the keys."""
    if not links:
        return
    insert = insert_into(tx, external_links)
    changed = {name: insert.excluded[name] for name in ("external_id", "version", "state")}
    upsert = insert.on_conflict_do_update(index_elements=[_l.tenant_id, _l.system, _l.guid], set_=changed)
    await tx.execute(
        upsert,
        [
            {
                "tenant_id": scope.tenant_id,
                "system": system,
                "guid": link.guid,
                "external_id": link.external_id,
                "version": link.version,
                "state": msgspec.json.encode(link.state).decode(),
            }
            for link in sorted(links, key=lambda link: link.guid)
        ],
    )


async def set_current(tx: Tx, scope: TenantScope, system: str) -> None:
    """From now on the links of this system are shown."""
    insert = insert_into(tx, external_current)
    upsert = insert.values(tenant_id=scope.tenant_id, system=system)
    await tx.execute(
        upsert.on_conflict_do_update(index_elements=[external_current.c.tenant_id], set_={"system": system})
    )


def _link(row: Any) -> StoredLink:
    return StoredLink(row.guid, row.external_id, row.version, msgspec.json.decode(row.state))


# -- what changed

_CHANGED = """
SELECT e.guid, e.changed_position FROM {listed} WHERE l.tenant_id = {tenant} AND {condition} AND l.position >= {position}
  AND (l.position > {position} OR l.guid > {guid}) AND l.position <= {through}
ORDER BY l.position, l.guid LIMIT {limit}"""
_GONE_BEHIND = """
SELECT e.guid, e.gone_position FROM entities e
WHERE e.tenant_id = {tenant} AND e.gone_position > 0 AND e.gone_position >= {position}
  AND (e.gone_position > {position} OR e.guid > {guid}) AND e.gone_position <= {through}
ORDER BY e.gone_position, e.guid LIMIT {limit}"""
_PLACES = {
    "postgresql": {
        "tenant": "$1",
        "position": "$2::bigint",
        "guid": "$3::text",
        "through": "$4::bigint",
        "limit": "$5::int",
    },
    "sqlite": {"tenant": "?1", "position": "?2", "guid": "?3", "through": "?4", "limit": "?5"},
}
_OF_KIND = {"postgresql": "NOT e.deleted AND l.type = $6::text", "sqlite": "e.deleted = 0 AND l.type = ?6"}
_CHANGED_OF_KIND = {
    dialect: _CHANGED.format(listed=LISTED[dialect], condition=_OF_KIND[dialect], **places)
    for dialect, places in _PLACES.items()
}
_GONE = {dialect: _GONE_BEHIND.format(**places) for dialect, places in _PLACES.items()}


async def hand_over(tx: Tx, scope: TenantScope, from_guid: str, to_guid: str) -> None:
    """Let the twins of one entity be those of another, but in systems where that has one of its own."""
    own = external_links.alias("own")
    has_one = exists().where(own.c.tenant_id == _l.tenant_id, own.c.system == _l.system, own.c.guid == to_guid)
    moved = update(external_links).where(_l.tenant_id == scope.tenant_id, _l.guid == from_guid, ~has_one)
    await tx.execute(moved.values(guid=to_guid))


async def changed_page(
    view: Reading, scope: TenantScope, *, kind: str | None, after: tuple[int, str], through: int, limit: int
) -> Sequence[tuple[str, int]]:
    """The next entities of a kind that changed behind `after` (a position and a guid) and not later than `through`: their
    guids, and where they changed, in that order. None asks for those that were deleted."""
    values = [scope.tenant_id, *after, through, limit]
    if kind is None:
        rows = await view.fetch(_GONE[view.dialect], *values)
    else:
        rows = await view.fetch(_CHANGED_OF_KIND[view.dialect], *values, kind)
    return [(row[0], row[1]) for row in rows]


async def groups_with(view: Reading, scope: TenantScope, members_: Collection[str]) -> Collection[str]:
    """The groups that any of these entities are in."""
    if not members_:
        return ()
    m = members.c
    found = rows_with(view, m.member_guid, sorted(members_), m.tenant_id == scope.tenant_id, m.present)
    return set((await view.execute(select(found.c.group_guid))).scalars())
