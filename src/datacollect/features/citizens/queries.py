"""SQL of citizens' sign-ins."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, delete, insert, select, update

from datacollect.db import Tx
from datacollect.features.citizens.tables import sessions
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

_MOST_FORGOTTEN = 100

# -- sign-ins


async def insert_session(
    tx: Tx,
    scope: TenantScope,
    session_id: str,
    entity_guid: str,
    *,
    method: str,
    factor_hashes: Mapping[str, str],
    now: Millis,
    expires_at: Millis,
) -> None:
    values = {
        "tenant_id": scope.tenant_id,
        "id": session_id,
        "entity_guid": entity_guid,
        "method": method,
        "factors": msgspec.json.encode(factor_hashes).decode(),
        "created_ms": now,
        "expires_ms": expires_at,
    }
    await tx.execute(insert(sessions).values(values))


def method_and_factors(
    scope: TenantScope, session_id: str, entity_guid: str, *, now: Millis
) -> tuple[ColumnElement[Any], ...]:
    """Of a sign-in that lasts, NULL otherwise; as parts of somebody else's statement."""
    lasting = (
        (sessions.c.tenant_id == scope.tenant_id)
        & (sessions.c.id == session_id)
        & (sessions.c.entity_guid == entity_guid)
        & sessions.c.ended_ms.is_(None)
        & (sessions.c.expires_ms > now)
    )
    return tuple(
        select(column).where(lasting).scalar_subquery().label(column.name)
        for column in (sessions.c.method, sessions.c.factors)
    )


async def end_session(tx: Tx, scope: TenantScope, session_id: str, *, now: Millis) -> bool:
    """False when it had ended before."""
    mine = (sessions.c.tenant_id == scope.tenant_id) & (sessions.c.id == session_id) & sessions.c.ended_ms.is_(None)
    result = await tx.execute(update(sessions).where(mine).values(ended_ms=now))
    return result.rowcount == 1


async def forget_sessions(tx: Tx, scope: TenantScope, *, now: Millis) -> None:
    """Forget some that are over; without waiting for anybody."""
    over = (sessions.c.tenant_id == scope.tenant_id) & (sessions.c.expires_ms <= now)
    some = select(sessions.c.id).where(over).limit(_MOST_FORGOTTEN).with_for_update(skip_locked=True)
    await tx.execute(delete(sessions).where(sessions.c.tenant_id == scope.tenant_id, sessions.c.id.in_(some)))
