"""SQL of taking away the rows of lists that mean nothing any more, stretch by stretch.

Keys are read a page at a time, and a row is true whose entity exists and was last changed where the row is.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from datacollect.db import EVERY_TENANT, Database, Reading, Tx
from datacollect.db.database import Dialect
from datacollect.features.entities import listings
from datacollect.features.entities.rebuilt import expect_growth
from datacollect.features.entities.rows import json_text
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

_DUE_PROGRAMS = """
SELECT DISTINCT tenant_id FROM listing_blocks WHERE stale >= due ORDER BY tenant_id"""
_DUE_PROGRAMS_AMONG = {
    "postgresql": """
SELECT tenant_id FROM unnest($1::text[]) AS asked (tenant_id)
WHERE EXISTS (SELECT 1 FROM listing_blocks b WHERE b.tenant_id = asked.tenant_id AND b.stale >= b.due OFFSET 0)""",
    "sqlite": """
SELECT value FROM json_each(?1) AS asked
WHERE EXISTS (SELECT 1 FROM listing_blocks b WHERE b.tenant_id = asked.value AND b.stale >= b.due)""",
}

_DUE = {
    "postgresql": """
SELECT block, stale, due FROM listing_blocks WHERE tenant_id = $1 AND block > $2 AND stale >= due
ORDER BY block LIMIT $3""",
    "sqlite": """
SELECT block, stale, due FROM listing_blocks WHERE tenant_id = ?1 AND block > ?2 AND stale >= due
ORDER BY block LIMIT ?3""",
}

_WITHIN = {
    "postgresql": "l.tenant_id = $1 AND (l.position, l.guid) > ($2, $3) AND (l.position, l.guid) <= ($4, $5)",
    "sqlite": "l.tenant_id = ?1 AND (l.position, l.guid) > (?2, ?3) AND (l.position, l.guid) <= (?4, ?5)",
}
_PAGE_END = {
    "postgresql": f"""
SELECT l.position, l.guid FROM listings l WHERE {_WITHIN["postgresql"]}
ORDER BY l.position, l.guid LIMIT 1 OFFSET $6""",
    "sqlite": f"""
SELECT l.position, l.guid FROM listings l WHERE {_WITHIN["sqlite"]}
ORDER BY l.position, l.guid LIMIT 1 OFFSET ?6""",
}
# Each entity by its key: joined, PostgreSQL might go through the table.
_JUDGED = {
    "postgresql": f"""listings l LEFT JOIN LATERAL (
  SELECT e.guid FROM entities e WHERE e.tenant_id = $1 AND e.guid = l.guid AND e.changed_position = l.position
  AND NOT e.deleted OFFSET 0) e ON true WHERE {_WITHIN["postgresql"]}""",
    "sqlite": f"""listings l LEFT JOIN entities e
ON e.tenant_id = ?1 AND e.guid = l.guid AND e.changed_position = l.position AND e.deleted = 0
WHERE {_WITHIN["sqlite"]}""",
}
_COUNT = {
    "postgresql": f"""
SELECT count(*), count(*) - count(e.guid) FROM {_JUDGED["postgresql"]}""",
    "sqlite": f"""
SELECT count(*), count(*) - count(e.guid) FROM {_JUDGED["sqlite"]}""",
}
_STALE = {
    "postgresql": f"""
SELECT l.position, l.guid FROM {_JUDGED["postgresql"]} AND e.guid IS NULL ORDER BY l.position, l.guid LIMIT $6""",
    "sqlite": f"""
SELECT l.position, l.guid FROM {_JUDGED["sqlite"]} AND e.guid IS NULL ORDER BY l.position, l.guid LIMIT ?6""",
}
_TAKE_AWAY = {
    "postgresql": """
DELETE FROM listings WHERE ctid = ANY (ARRAY(
  SELECT one.ctid FROM unnest($2::bigint[], $3::text[]) AS stale (position, guid)
  CROSS JOIN LATERAL (SELECT l.ctid FROM listings l
    WHERE l.tenant_id = $1 AND l.position = stale.position AND l.guid = stale.guid
    AND NOT EXISTS (SELECT 1 FROM entities e WHERE e.tenant_id = $1 AND e.guid = stale.guid
                    AND e.changed_position = stale.position AND NOT e.deleted OFFSET 0) OFFSET 0) one))
RETURNING 1""",
    "sqlite": """
DELETE FROM listings WHERE tenant_id = ?1
AND (position, guid) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?2))
AND NOT EXISTS (SELECT 1 FROM entities e WHERE e.tenant_id = ?1 AND e.guid = listings.guid
                AND e.changed_position = listings.position AND e.deleted = 0)
RETURNING 1""",
}

# What has been counted since the stretch was read stays, and nothing happens if somebody else was here meanwhile.
_SETTLE = {
    "postgresql": """
UPDATE listing_blocks SET stale = stale - $4 + $5, due = $6
WHERE tenant_id = $1 AND block = $2 AND due = $3 AND stale >= $4""",
    "sqlite": """
UPDATE listing_blocks SET stale = stale - ?4 + ?5, due = ?6
WHERE tenant_id = ?1 AND block = ?2 AND due = ?3 AND stale >= ?4""",
}
_FORGET = {
    "postgresql": "DELETE FROM listing_blocks WHERE tenant_id = $1 AND block = $2 AND due = $3 AND stale = 0",
    "sqlite": "DELETE FROM listing_blocks WHERE tenant_id = ?1 AND block = ?2 AND due = ?3 AND stale = 0",
}

Place = tuple[int, str]
"""Position and guid."""


class Page(NamedTuple):
    """A run of places: after the first one, up to and with the second."""

    after: Place
    through: Place


class Counted(NamedTuple):
    rows: int
    stale: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is known of a stretch of the log."""

    block: int
    stale: int
    due: int

    @property
    def is_to_be_tidied(self) -> bool:
        """Nobody knows what is there (`listings.look_at_all`): all that is stale goes, however little."""
        return self.due <= 0

    @property
    def whole(self) -> Page:
        """No guid is empty."""
        return Page((self.block << listings.BLOCK_BITS, ""), ((self.block + 1) << listings.BLOCK_BITS, ""))


async def due_programs(database: Database, among: Collection[TenantId] | None) -> Sequence[TenantId]:
    """Programs that have a stretch that is due; None stands for all that there are."""
    async with database.reading(EVERY_TENANT) as view:
        if among is None:
            rows = await view.fetch(_DUE_PROGRAMS)
        else:
            rows = await view.fetch(_DUE_PROGRAMS_AMONG[view.dialect], view.listed(sorted(among)))
    return [TenantId(row[0]) for row in rows]


async def due_stretches(view: Reading, scope: TenantScope, *, after: int, limit: int) -> Sequence[Stretch]:
    return [Stretch(*row) for row in await view.fetch(_DUE[view.dialect], scope.tenant_id, after, limit)]


async def first_page(view: Reading, scope: TenantScope, places: Page, *, limit: int) -> Page:
    """The first so many rows of these, or all."""
    ends = await view.fetch(_PAGE_END[view.dialect], scope.tenant_id, *_bounds(places), limit - 1)
    return places._replace(through=(ends[0][0], ends[0][1])) if ends else places


async def count(view: Reading, scope: TenantScope, page: Page) -> Counted:
    [row] = await view.fetch(_COUNT[view.dialect], scope.tenant_id, *_bounds(page))
    return Counted(row[0], row[1])


async def stale_places(view: Reading, scope: TenantScope, page: Page, *, limit: int) -> Sequence[Place]:
    rows = await view.fetch(_STALE[view.dialect], scope.tenant_id, *_bounds(page), limit)
    return [(row[0], row[1]) for row in rows]


async def take_away(tx: Tx, scope: TenantScope, places: Sequence[Place]) -> int:
    """Delete those of the rows that mean nothing now; how many they were."""
    await expect_growth(tx)
    return len(await tx.fetch(_TAKE_AWAY[tx.dialect], scope.tenant_id, *_columns(tx.dialect, places)))


async def settle(tx: Tx, scope: TenantScope, stretch: Stretch, left: Counted) -> None:
    """Store what is left of a stretch that was looked at. It is due once an eighth of that is stale.

    Pushes count in the same rows while they hold the log: nobody may be waited for from here to the end of the unit.
    """
    due = max(listings.FIRST_DUE, -(-left.rows // listings.SHARE))
    known = scope.tenant_id, stretch.block
    await tx.run(_SETTLE[tx.dialect], *known, stretch.due, stretch.stale, left.stale, due)
    if not left.rows:
        await tx.run(_FORGET[tx.dialect], *known, due)


def _bounds(page: Page) -> Sequence[int | str]:
    return *page.after, *page.through


def _columns(dialect: Dialect, places: Sequence[Place]) -> Sequence[object]:
    if dialect == "sqlite":
        return [json_text(places)]
    return [place[0] for place in places], [place[1] for place in places]
