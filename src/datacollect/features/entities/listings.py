"""Where entities stand in lists in the order of their changes, and what is no longer true of that.

A change adds a row at the end of the log. The row of the change before is taken away at once where it is near, so that
the newest part of a list holds nothing else; what is further back would be another page to be read and written for each
change, so it is counted only, by stretches of the log, and taken away for many at a time (`sweeping.py`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from datacollect.features.entities.entity import Entity

NEAR = 1_000
"""Positions within which a row is taken away by the change that puts another one in its place."""

BLOCK_BITS = 12
"""Positions of a stretch, as a power of two."""

FIRST_DUE = 256
"""Rows of a stretch that mean nothing, before it is looked at."""

LISTED = {
    "postgresql": "listings l CROSS JOIN LATERAL (SELECT * FROM entities e"
    " WHERE e.tenant_id = $1 AND e.guid = l.guid AND e.changed_position = l.position OFFSET 0) e",
    "sqlite": "listings l CROSS JOIN entities e"
    " ON e.tenant_id = ?1 AND e.guid = l.guid AND e.changed_position = l.position",
}
"""For FROM: entities `e` that exist, each by the row `l` of its place in lists; the tenant is the first parameter."""

_LOOK_AT_ALL = f"""
INSERT INTO listing_blocks (tenant_id, block, stale, due)
SELECT tenant_id, position >> {BLOCK_BITS}, {FIRST_DUE}, {FIRST_DUE} FROM listings WHERE tenant_id = {{tenant}}
GROUP BY tenant_id, position >> {BLOCK_BITS}
ON CONFLICT (tenant_id, block) DO UPDATE SET stale = excluded.stale, due = excluded.due"""
LOOK_AT_ALL = {"postgresql": _LOOK_AT_ALL.format(tenant="$1"), "sqlite": _LOOK_AT_ALL.format(tenant="?1")}
"""Whatever is known of it: every stretch is looked at once more."""

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
    def stretches(self) -> Sequence[tuple[int, int]]:
        """In order, so that whoever counts at the same time does not wait for each other."""
        return sorted(self.blocks.items())


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
