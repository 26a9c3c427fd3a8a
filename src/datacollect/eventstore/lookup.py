"""Finding events by where they stand in the log."""

from collections.abc import Collection, Mapping

import msgspec

from datacollect.db import Reading
from datacollect.kernel.identity import TenantScope

_GUIDS = {
    "postgresql": "SELECT position, guid FROM events WHERE tenant_id = $1 AND position = ANY($2::bigint[])",
    "sqlite": "SELECT e.position, e.guid FROM json_each(?2) AS asked"
    " CROSS JOIN events e ON e.tenant_id = ?1 AND e.position = asked.value",
}


async def guids_at(view: Reading, scope: TenantScope, positions: Collection[int]) -> Mapping[int, str]:
    """The guids of the events at these positions, by one statement however many they are."""
    asked = msgspec.json.encode(list(positions)).decode() if view.dialect == "sqlite" else list(positions)
    return dict(map(tuple, await view.fetch(_GUIDS[view.dialect], scope.tenant_id, asked)))
