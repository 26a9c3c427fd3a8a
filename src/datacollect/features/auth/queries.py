"""SQL of signing in."""

from sqlalchemy import case, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from datacollect.db import Tx
from datacollect.features.auth.model import Session
from datacollect.features.auth.tables import attempts, sessions
from datacollect.kernel.clock import Millis


async def insert_session(tx: Tx, session: Session) -> None:
    values = {
        "family": session.family,
        "user_id": session.user_id,
        "current_hash": session.current_hash,
        "rotated_ms": session.rotated_at,
        "created_ms": session.rotated_at,
        "expires_ms": session.expires_at,
    }
    await tx.execute(insert(sessions).values(values))


async def lock_session(tx: Tx, family: str) -> Session | None:
    """The family, held until the transaction ends: two refreshes at once are judged one after the other."""
    row = (await tx.execute(select(sessions).where(sessions.c.family == family).with_for_update())).one_or_none()
    if row is None:
        return None
    return Session(
        family=row.family,
        user_id=row.user_id,
        current_hash=row.current_hash,
        previous_hash=row.previous_hash,
        rotated_at=row.rotated_ms,
        expires_at=row.expires_ms,
        revoked_at=row.revoked_ms,
    )


async def rotate_session(tx: Tx, session: Session, *, new_hash: bytes, now: Millis, expires_at: Millis) -> None:
    changes = {
        "current_hash": new_hash,
        "previous_hash": session.current_hash,
        "rotated_ms": now,
        "expires_ms": expires_at,
    }
    await tx.execute(update(sessions).where(sessions.c.family == session.family).values(changes))


async def revoke_session(tx: Tx, family: str, *, now: Millis) -> None:
    await tx.execute(update(sessions).where(sessions.c.family == family).values(revoked_ms=now))


async def count_attempt(tx: Tx, key: str, *, now: Millis, window_millis: int) -> tuple[int, Millis]:
    """Count one more attempt under `key`; how many there are in its window, and when that began."""
    ended = attempts.c.window_began_ms <= now - window_millis
    insert_ = (postgresql if tx.dialect == "postgresql" else sqlite).insert(attempts)
    statement = (
        insert_.values(key=key, window_began_ms=now, count=1)
        .on_conflict_do_update(
            index_elements=[attempts.c.key],
            set_={
                "count": case((ended, 1), else_=attempts.c.count + 1),
                "window_began_ms": case((ended, now), else_=attempts.c.window_began_ms),
            },
        )
        .returning(attempts.c.count, attempts.c.window_began_ms)
    )
    row = (await tx.execute(statement)).mappings().one()
    return row["count"], row["window_began_ms"]
