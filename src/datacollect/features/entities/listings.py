"""Where entities stand in lists in the order of their changes, and what is no longer true of that.

A change adds a row at the end of the log. The row of the change before is taken away at once where it is near, so that
the newest part of a list holds nothing else; what is further back would be another page to be read and written for each
change, so it is counted only, by stretches of the log, and taken away for many at a time (`sweeping.py`).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from datacollect.db import Tx
from datacollect.features.entities.entity import Entity
from datacollect.kernel.identity import TenantScope

NEAR = 1_000
"""Positions within which a row is taken away by the change that puts another one in its place."""

BLOCK_BITS = 12
"""Positions of a stretch, as a power of two."""

FIRST_DUE = 256
"""Rows of a stretch that mean nothing, before it is looked at."""

SHARE = 8
"""Of the rows of a stretch one in so many is stale before they are taken away. All of them may be of one area, form or type, whose
readers pass over them; and a stretch is read for that as a whole."""

LISTED = {
    "postgresql": "listings l CROSS JOIN LATERAL (SELECT * FROM entities e"
    " WHERE e.tenant_id = $1 AND e.guid = l.guid AND e.changed_position = l.position OFFSET 0) e",
    "sqlite": "listings l CROSS JOIN entities e"
    " ON e.tenant_id = ?1 AND e.guid = l.guid AND e.changed_position = l.position",
}
"""For FROM: entities `e` that exist, each by the row `l` of its place in lists; the tenant is the first parameter."""

_LOOK_AT_ALL = """
INSERT INTO listing_blocks (tenant_id, block, stale, due)
SELECT tenant_id, position >> {bits}, 0, 0 FROM listings WHERE tenant_id = {tenant} GROUP BY 1, 2
ON CONFLICT (tenant_id, block) DO UPDATE
SET stale = 0, due = CASE WHEN listing_blocks.due > 0 THEN 0 ELSE listing_blocks.due - 1 END"""
_LOOK_AT_ALL_ON = {
    "postgresql": _LOOK_AT_ALL.format(tenant="$1", bits="$2::int"),
    "sqlite": _LOOK_AT_ALL.format(tenant="?1", bits="?2"),
}

Change = tuple[Entity | None, Entity]
"""An entity as the database held it, and as it is now."""


@dataclass(slots=True)
class Left:
    """The places that entities have left."""

    near: list[tuple[int, str]] = field(default_factory=list)
    """To be taken away: position and guid."""
    blocks: Counter[int] = field(default_factory=Counter)
    """How many places each stretch has lost beside."""

    @property
    def is_nothing(self) -> bool:
        return not self.near and not self.blocks

    @property
    def stretches(self) -> Sequence[tuple[int, int, int]]:
        """How many each has lost, and from how many on one that nobody has counted for yet is due.

        They are counted while the log is held, so whoever else writes to more than one of them has to hold it, too, and
        whoever writes to one has to be at the end of the unit.
        """
        return [(block, lost, FIRST_DUE) for block, lost in sorted(self.blocks.items())]


def left_by(changes: Iterable[Change]) -> Left:
    left = Left()
    for before, after in changes:
        if before is None or not before.is_live or before.changed_position == after.changed_position:
            continue
        position = before.changed_position
        if after.changed_position - position < NEAR:
            left.near.append((position, after.guid))
        else:
            left.blocks[position >> BLOCK_BITS] += 1
    return left


async def look_at_all(tx: Tx, scope: TenantScope) -> None:
    """Whatever is known of it: every stretch is looked at once more, and what is stale there goes, however little.

    It is due from 0 on, or from less: whoever is looking at it already must not take what they have seen for all.
    """
    await tx.run(_LOOK_AT_ALL_ON[tx.dialect], scope.tenant_id, BLOCK_BITS)


async def put_back(tx: Tx, scope: TenantScope) -> None:
    """To be called before entities are put where they have been before, from here to the end of the unit.

    A row that says so may still be there, and be taken for one that means nothing by who takes those away: they see what
    is stored. On SQLite nobody else writes meanwhile.
    """
    if tx.dialect == "postgresql":
        await tx.run("SELECT pg_advisory_xact_lock($1)", _lock_of(scope))


async def may_take_away(tx: Tx, scope: TenantScope) -> bool:
    """Whether nobody is about to put entities back; nor will anybody to the end of the unit. Nobody is waited for."""
    if tx.dialect == "sqlite":
        return True
    [row] = await tx.fetch("SELECT pg_try_advisory_xact_lock_shared($1)", _lock_of(scope))
    return bool(row[0])


def _lock_of(scope: TenantScope) -> int:
    """A number of the program's among all locks of the database."""
    name = f"listings {scope.tenant_id}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), signed=True)
