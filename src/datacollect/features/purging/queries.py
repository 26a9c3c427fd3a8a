"""SQL of purging: of every table with a tenant, whichever slice it belongs to."""

from collections.abc import Sequence

from sqlalchemy import Table, delete, select, tuple_

from datacollect.db import Tx
from datacollect.db.metadata import metadata
from datacollect.db.walls import tenant_tables
from datacollect.eventstore.tables import log_heads
from datacollect.kernel.identity import TenantScope


def tables() -> Sequence[Table]:
    """All whose rows belong to a tenant, those that refer to others first."""
    names = set(tenant_tables())
    return [table for table in reversed(metadata.sorted_tables) if table.name in names]


async def delete_some(tx: Tx, scope: TenantScope, table: Table, *, most: int) -> int:
    """Delete so many of the tenant's rows, in the order of their keys; gives how many there were of them."""
    ours = table.c.tenant_id == scope.tenant_id
    deleted = delete(table).where(ours)
    if key := [column for column in table.primary_key.columns if column.name != "tenant_id"]:
        # Up to a key, not those of a list: that is one walk along the index on both engines.
        following = (await tx.execute(select(*key).where(ours).order_by(*key).offset(most).limit(1))).first()
        if following is not None:
            deleted = deleted.where(tuple_(*key) < tuple_(*following))
    return (await tx.execute(deleted)).rowcount


async def delete_head(tx: Tx, scope: TenantScope) -> None:
    """Take the log's end away: who holds the log is waited for, and from the commit on nobody gets hold of it.

    Archiving has closed the log, but only for events: notes of who reads and files are taken by a closed log too. Rows of
    those would go with the others, but their senders would have been told that they are kept.
    """
    await tx.execute(delete(log_heads).where(log_heads.c.tenant_id == scope.tenant_id))
