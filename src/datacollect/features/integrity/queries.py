"""SQL of integrity."""

from sqlalchemy import select

from datacollect.db import Reading, Tx, insert_into
from datacollect.features.integrity.model import KeptFinding, LastVerification
from datacollect.features.integrity.tables import verifications
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope


async def keep(tx: Tx, scope: TenantScope, last: LastVerification) -> None:
    """Put this one in the place of the one before."""
    finding = last.finding
    values = {
        "verified_ms": last.verified_at,
        "ok": finding is None,
        "position": last.position,
        "chain_hash": last.chain_hash,
        "code": finding and finding.code,
        "finding_position": finding and finding.position,
        "finding_guid": finding and finding.guid,
        "message": finding and finding.message,
    }
    insert = insert_into(tx, verifications)
    await tx.execute(
        insert.values(tenant_id=scope.tenant_id, **values).on_conflict_do_update(
            index_elements=["tenant_id"], set_=values
        )
    )


async def find(view: Reading, scope: TenantScope) -> LastVerification | None:
    wanted = select(verifications).where(verifications.c.tenant_id == scope.tenant_id)
    row = (await view.execute(wanted)).first()
    if row is None:
        return None
    finding = None if row.ok else KeptFinding(row.code, row.message, row.finding_position, row.finding_guid)
    return LastVerification(Millis(row.verified_ms), row.position, row.chain_hash, finding)
