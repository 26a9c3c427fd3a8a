"""SQL of citizens' sign-ins."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, case, delete, insert, select, update

from datacollect.db import Reading, Tx, insert_into
from datacollect.features.citizens.model import FORGOTTEN_MILLIS, TRIES, Code, Lock
from datacollect.features.citizens.tables import codes, locks, sessions
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

_MOST_FORGOTTEN = 100
_CLOCKS_DIFFER_MILLIS = 60_000

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


# -- wrong tries


async def hold_lock(tx: Tx, scope: TenantScope, key_hash: bytes, *, now: Millis) -> Lock:
    """The wrong tries under a key, held until the transaction ends: of tries at the same time none slips through."""
    values = {
        "tenant_id": scope.tenant_id,
        "key_hash": key_hash,
        "wrong": 0,
        "level": 0,
        "locked_until_ms": 0,
        "changed_ms": now,
    }
    statement = (
        insert_into(tx, locks)
        .values(values)
        .on_conflict_do_update(index_elements=["tenant_id", "key_hash"], set_={"wrong": locks.c.wrong})
        .returning(locks.c.wrong, locks.c.level, locks.c.locked_until_ms, locks.c.changed_ms)
    )
    return Lock(*(await tx.execute(statement)).one())


async def read_lock(view: Reading, scope: TenantScope, key_hash: bytes) -> Lock:
    mine = (locks.c.tenant_id == scope.tenant_id) & (locks.c.key_hash == key_hash)
    columns = select(locks.c.wrong, locks.c.level, locks.c.locked_until_ms, locks.c.changed_ms)
    row: Any = (await view.execute(columns.where(mine))).one_or_none()
    return Lock() if row is None else Lock(*row)


async def store_lock(tx: Tx, scope: TenantScope, key_hash: bytes, lock: Lock) -> None:
    mine = (locks.c.tenant_id == scope.tenant_id) & (locks.c.key_hash == key_hash)
    changes = {
        "wrong": lock.wrong,
        "level": lock.level,
        "locked_until_ms": lock.locked_until,
        "changed_ms": lock.changed_at,
    }
    await tx.execute(update(locks).where(mine).values(changes))


async def delete_lock(tx: Tx, scope: TenantScope, key_hash: bytes) -> None:
    await tx.execute(delete(locks).where(locks.c.tenant_id == scope.tenant_id, locks.c.key_hash == key_hash))


async def forget_locks(tx: Tx, scope: TenantScope, *, but: bytes, now: Millis) -> None:
    """Forget some that count no more, but not the one that is held; without waiting for anybody."""
    # A lock lasts no longer than what is forgotten after.
    long_ago = locks.c.changed_ms < now - 2 * FORGOTTEN_MILLIS
    old = (locks.c.tenant_id == scope.tenant_id) & long_ago & (locks.c.key_hash != but)
    some = select(locks.c.key_hash).where(old).limit(_MOST_FORGOTTEN).with_for_update(skip_locked=True)
    await tx.execute(delete(locks).where(locks.c.tenant_id == scope.tenant_id, locks.c.key_hash.in_(some)))


# -- one-time codes


async def insert_code(tx: Tx, scope: TenantScope, identifier_hash: bytes, code: Code) -> None:
    values = {
        "tenant_id": scope.tenant_id,
        "id": code.id,
        "identifier_hash": identifier_hash,
        "code_hash": code.hash,
        "entity_guid": code.entity_guid,
        "origin": code.origin,
        "own_tries": code.own_tries,
        "other_tries": code.other_tries,
        "spent": False,
        "created_ms": code.created_at,
        "expires_ms": code.expires_at,
    }
    await tx.execute(insert(codes).values(values))


async def lock_live_codes(
    tx: Tx, scope: TenantScope, identifier_hash: bytes, *, now: Millis, limit: int
) -> Sequence[Code]:
    """The latest first, held until the transaction ends: of two who use one at the same time, one finds it spent."""
    columns = codes.c
    found = (
        select(
            columns.id,
            columns.code_hash,
            columns.entity_guid,
            columns.origin,
            columns.own_tries,
            columns.other_tries,
            columns.created_ms,
            columns.expires_ms,
        )
        .where(_of(scope, identifier_hash), _is_live(now))
        .order_by(columns.created_ms.desc(), columns.id)
        .limit(limit)
        .with_for_update()
    )
    rows: Sequence[Any] = (await tx.execute(found)).all()
    return [Code(*row) for row in rows]


def _is_live(now: Millis) -> ColumnElement[bool]:
    """Not one that was made later than now, by a clock that has been set back since: it would live as much longer, and
    keep a new one from being sent. Those of machines beside this one differ a little."""
    columns = codes.c
    return and_(~columns.spent, columns.expires_ms > now, columns.created_ms <= now + _CLOCKS_DIFFER_MILLIS)


async def has_own_code(view: Reading, scope: TenantScope, identifier_hash: bytes, *, origin: str, now: Millis) -> bool:
    """Whether one that was asked for from there may still be tried."""
    mine = (codes.c.origin == origin) & (codes.c.own_tries < TRIES)
    live = select(codes.c.id).where(_of(scope, identifier_hash), _is_live(now), mine)
    return (await view.execute(live.limit(1))).first() is not None


async def store_tries(tx: Tx, scope: TenantScope, tried: Sequence[Code]) -> None:
    """One statement, also for none."""
    columns = codes.c
    own = case({code.id: code.own_tries for code in tried}, value=columns.id, else_=columns.own_tries) if tried else 0
    other = (
        case({code.id: code.other_tries for code in tried}, value=columns.id, else_=columns.other_tries) if tried else 0
    )
    mine = (columns.tenant_id == scope.tenant_id) & columns.id.in_([code.id for code in tried])
    await tx.execute(update(codes).where(mine).values(own_tries=own, other_tries=other))


async def spend_codes(tx: Tx, scope: TenantScope, identifier_hash: bytes) -> None:
    """All of the identifier: a sign-in ends them."""
    await tx.execute(update(codes).where(_of(scope, identifier_hash), ~codes.c.spent).values(spent=True))


async def forget_codes(tx: Tx, scope: TenantScope, *, now: Millis) -> None:
    """Forget some that have run out; without waiting for anybody."""
    over = (codes.c.tenant_id == scope.tenant_id) & (codes.c.expires_ms <= now)
    some = select(codes.c.id).where(over).limit(_MOST_FORGOTTEN).with_for_update(skip_locked=True)
    await tx.execute(delete(codes).where(codes.c.tenant_id == scope.tenant_id, codes.c.id.in_(some)))


def _of(scope: TenantScope, identifier_hash: bytes) -> ColumnElement[bool]:
    return (codes.c.tenant_id == scope.tenant_id) & (codes.c.identifier_hash == identifier_hash)
