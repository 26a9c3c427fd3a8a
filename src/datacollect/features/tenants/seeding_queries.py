"""All SQL of seeding. Whoever calls holds the program's log, so that nobody else changes these rows."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import bindparam, delete, select, update

from datacollect.db import Reading, Tx, insert_into
from datacollect.features.tenants.seeding import Rejected, Seeding, Tally
from datacollect.features.tenants.seeding_tables import seed_batches, seedings
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

_rejections = msgspec.json.Decoder(tuple[Rejected, ...])
_BATCHES_A_STATEMENT = 100
_FIND = select(seedings).where(seedings.c.tenant_id == bindparam("named"))
"""Made once, as what is asked whenever a program is shown."""


async def find_seeding(view: Reading, scope: TenantScope) -> Seeding | None:
    """The program's latest seeding."""
    row = (await view.execute(_FIND, {"named": scope.tenant_id})).one_or_none()
    if row is None:
        return None
    tally = Tally(row.rejected, row.changed, row.added, row.existing, _rejections.decode(row.rejections))
    return Seeding(row.total, tally, row.next_ms, row.started_ms, row.finished_ms)


async def store_seeding(tx: Tx, scope: TenantScope, seeding: Seeding) -> None:
    tally = seeding.tally
    values = {
        "total": seeding.total,
        "added": tally.added,
        "existing": tally.existing,
        "changed": tally.changed,
        "rejected": tally.rejected,
        "rejections": msgspec.json.encode(tally.rejections).decode(),
        "next_ms": seeding.next_at,
        "started_ms": seeding.started_at,
        "finished_ms": seeding.finished_at,
    }
    insert = insert_into(tx, seedings)
    upsert = insert.values(tenant_id=scope.tenant_id, **values)
    await tx.execute(upsert.on_conflict_do_update(index_elements=[seedings.c.tenant_id], set_=values))


async def add_batches(tx: Tx, scope: TenantScope, texts: Sequence[str]) -> None:
    for begin in range(0, len(texts), _BATCHES_A_STATEMENT):
        some = texts[begin : begin + _BATCHES_A_STATEMENT]
        rows = [
            {"tenant_id": scope.tenant_id, "number": begin + index, "records": text} for index, text in enumerate(some)
        ]
        await tx.execute(seed_batches.insert(), rows)


async def next_batch(tx: Tx, scope: TenantScope) -> tuple[int, str] | None:
    """The number and the text of the first batch that is still to be seeded."""
    b = seed_batches.c
    found = select(b.number, b.records).where(b.tenant_id == scope.tenant_id).order_by(b.number).limit(1)
    row = (await tx.execute(found)).one_or_none()
    return None if row is None else (row.number, row.records)


async def delete_batch(tx: Tx, scope: TenantScope, number: int) -> None:
    b = seed_batches.c
    await tx.execute(delete(seed_batches).where(b.tenant_id == scope.tenant_id, b.number == number))


async def delete_batches(tx: Tx, scope: TenantScope) -> None:
    """All of them."""
    await tx.execute(delete(seed_batches).where(seed_batches.c.tenant_id == scope.tenant_id))


async def finish(tx: Tx, scope: TenantScope, *, now: Millis) -> None:
    """The seeding is over, whatever was still to be done."""
    ended = update(seedings).where(seedings.c.tenant_id == scope.tenant_id, seedings.c.finished_ms.is_(None))
    await tx.execute(ended.values(finished_ms=now))
