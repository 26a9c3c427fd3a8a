"""What the hub does with secrets and programs as a whole: adopting what an older hub stored, and sealing anew.

Not in a migration, because only the hub has the keys: nothing is copied in the clear, and the history of every program
begins with what it is now.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from datacollect.db import EVERY_TENANT, Database, Tx
from datacollect.features.tenants import versions_queries
from datacollect.features.tenants.sealing import resealed, seal
from datacollect.features.tenants.versions_model import Change, VersionAction
from datacollect.features.tenants.versions_queries import SealedRow
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.sealing import CannotOpen, Seals

_AT_ONCE = 100


async def adopt(db: Database, seals: Seals) -> int:
    """Seal, and begin the history of, each program that a hub of before stored. Harmless when there are none."""
    async with db.reading() as view:
        waiting = await versions_queries.unadopted(view)
    for tenant_id in waiting:
        scope = system_scope(tenant_id)
        async with db.transaction(scope) as tx:
            old = await versions_queries.lock_unadopted(tx, scope)
            if old is None:
                continue
            seeds = old.entity_data and await versions_queries.keep_seed_text(tx, scope, old.entity_data)
            sealed = seal(seals, tenant_id, old.config, old.external_sync)
            await versions_queries.store_adopted(tx, scope, sealed, seeds)
            await versions_queries.keep_version(tx, scope, Change(VersionAction.ADOPTED))
    return len(waiting)


async def locked_programs(db: Database, seals: Seals) -> list[TenantId]:
    """Programs with secrets that were sealed with a key this hub does not have; a hundred at most."""
    async with db.reading() as view:
        rows = await versions_queries.programs_sealed_otherwise(view, seals.prefixes, after="", limit=_AT_ONCE)
    return [row.tenant_id for row in rows]


@dataclass(slots=True)
class Resealed:
    """How many rows, of programs and of their versions, were sealed anew, and how many no key opens."""

    done: int = 0
    locked: int = 0


async def reseal(db: Database, seals: Seals) -> Resealed:
    """Seal with the first key what any other has sealed, a hundred rows in each transaction.

    Revisions stay: nothing that anybody reads changes. What no key opens stays as it is.
    """
    outcome = Resealed()
    rows: list[SealedRow] | None = None
    program, version = "", ("", 0)
    while rows is None or rows:
        async with db.transaction(EVERY_TENANT) as tx:
            rows = await versions_queries.programs_sealed_otherwise(tx, [seals.prefix], after=program, limit=_AT_ONCE)
            await _reseal_rows(tx, seals, rows, outcome)
        program = rows[-1].tenant_id if rows else ""
    rows = None
    while rows is None or rows:
        async with db.transaction(EVERY_TENANT) as tx:
            rows = await versions_queries.versions_sealed_otherwise(tx, [seals.prefix], after=version, limit=_AT_ONCE)
            await _reseal_rows(tx, seals, rows, outcome)
        version = (rows[-1].tenant_id, rows[-1].revision or 0) if rows else ("", 0)
    return outcome


async def _reseal_rows(tx: Tx, seals: Seals, rows: Sequence[SealedRow], outcome: Resealed) -> None:
    for row in rows:
        try:
            again = resealed(seals, row.tenant_id, row.config_secrets, row.external_sync)
        except CannotOpen:
            outcome.locked += 1
        else:
            await versions_queries.replace_sealed(tx, row, *again)
            outcome.done += 1
