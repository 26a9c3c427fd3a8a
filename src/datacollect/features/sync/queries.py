"""SQL of sync beside the log's own."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy.dialects import postgresql, sqlite

from datacollect.db import Tx
from datacollect.features.sync.tables import quarantine
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import derived_guid


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An event kept aside. `body` is the event as it would have been delivered."""

    event_guid: str
    received_ms: Millis
    actor: str
    device_id: str | None
    code: str
    message: str
    body: str


async def keep_in_quarantine(tx: Tx, scope: TenantScope, refused: Sequence[Quarantined]) -> None:
    """Store refused events; the same event refused again (devices retry) is kept once."""
    insert = (postgresql if tx.dialect == "postgresql" else sqlite).insert(quarantine)
    rows = [
        {"tenant_id": scope.tenant_id, "id": derived_guid(item.event_guid, "quarantine", item.body), **asdict(item)}
        for item in refused
    ]
    await tx.execute(insert.on_conflict_do_nothing(), rows)
