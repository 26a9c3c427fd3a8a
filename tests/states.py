"""What follows from a program's events, as the database holds it."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import delete, select, update

from datacollect.assembly import event_store
from datacollect.db import Database, Reading
from datacollect.eventstore.tables import log_heads
from datacollect.features.conflicts.tables import conflicts
from datacollect.features.entities.indexing.indexer import Indexer
from datacollect.features.entities.indexing.queries import read_index
from datacollect.features.entities.indexing.tables import search_terms
from datacollect.features.entities.listings import LISTED
from datacollect.features.entities.tables import entities, listings, members
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

_LISTED = {
    dialect: f"""
SELECT l.position, l.guid, l.type, l.form_key, l.area_id FROM {listed} WHERE l.tenant_id = {tenant} ORDER BY l.position, l.guid"""
    for dialect, listed, tenant in (("postgresql", LISTED["postgresql"], "$1"), ("sqlite", LISTED["sqlite"], "?1"))
}


async def derived_state(database: Database, scope: TenantScope) -> Mapping[str, Any]:
    """Every derived column of entities and memberships, byte for byte; where they are in lists; the index; the counts; the
    conflicts.

    The index is brought up to the log first: it follows by itself.
    """
    await Indexer(database, event_store(database)).catch_up(scope)
    async with database.reading(scope) as view:
        return await _state(view, scope)


async def _state(view: Reading, scope: TenantScope) -> Mapping[str, Any]:
    pg = view.dialect == "postgresql"
    place, text = ("$1", "data::text") if pg else ("?", "data")
    found: dict[str, Any] = {}
    for table, key in ((entities, "guid"), (members, "group_guid, member_guid")):
        columns = [column.name for column in table.columns if column.name not in ("initial", "data")]
        rows = await view.fetch(
            f"SELECT {', '.join(columns)}{f', {text}' if table is entities else ''} FROM {table.name}"
            f" WHERE tenant_id = {place} ORDER BY {key}",
            scope.tenant_id,
        )
        found[table.name] = [tuple(row) for row in rows]
    found["listings"] = [tuple(row) for row in await view.fetch(_LISTED[view.dialect], scope.tenant_id)]
    of_index = select(search_terms).where(search_terms.c.tenant_id == scope.tenant_id)
    found["search_terms"] = sorted(tuple(row) for row in await view.execute(of_index))
    found["search_fields"] = (await read_index(view, scope)).fields
    head = select(log_heads.c.figures).where(log_heads.c.tenant_id == scope.tenant_id)
    found["figures"] = msgspec.json.decode((await view.execute(head)).scalar_one())
    kept = select(conflicts).where(conflicts.c.tenant_id == scope.tenant_id).order_by(conflicts.c.guid)
    # Of a conflict the value counts: jsonb has an order of keys of its own, and what was at hand the sender's.
    found["conflicts"] = [
        row._asdict() | {"local_version": msgspec.json.decode(row.local_version)} for row in await view.execute(kept)
    ]
    return found


async def ruin(database: Database, scope: TenantScope) -> None:
    """Lose or change everything that is live, so that what is there afterwards comes from the rebuild."""
    await Indexer(database, event_store(database)).catch_up(scope)
    async with database.transaction(scope) as tx:
        changed = update(entities).where(entities.c.tenant_id == scope.tenant_id)
        await tx.execute(changed.values(version=entities.c.version + 1, name="ruined"))
        gone = delete(search_terms).where(search_terms.c.tenant_id == scope.tenant_id, search_terms.c.term < "f")
        await tx.execute(gone)
        if (await read_index(tx, scope)).fields is not None:
            await tx.execute(
                search_terms.insert().values(tenant_id=scope.tenant_id, field="", term="ruined", guid="nobody")
            )
        for table in (members, conflicts, listings):
            await tx.execute(delete(table).where(table.c.tenant_id == scope.tenant_id))
        await tx.execute(
            entities.insert().values(
                tenant_id=scope.tenant_id,
                guid="nobody",
                version=1,
                data={},
                stamps="[1,1]",
                deleted=False,
                changed_position=1,
                last_updated=1,
                gone_position=0,
            )
        )
        await tx.execute(update(log_heads).where(log_heads.c.tenant_id == scope.tenant_id).values(figures='{"x":1}'))


async def stored_by_a_clock_ahead(database: Database, scope: TenantScope, *, millis: int) -> Millis:
    """The last event counts as stored so much later, as after the hub's clock was set back; gives when."""
    async with database.transaction(scope) as tx:
        of_log = log_heads.c.tenant_id == scope.tenant_id
        await tx.execute(update(log_heads).where(of_log).values(recorded_ms=log_heads.c.recorded_ms + millis))
        return Millis((await tx.execute(select(log_heads.c.recorded_ms).where(of_log))).scalar_one())
