"""SQL of signing in."""

from sqlalchemy import case, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from datacollect.db import Reading, Tx
from datacollect.features.auth.errors import UserGone
from datacollect.features.auth.model import Session
from datacollect.features.auth.tables import attempts, sessions
from datacollect.kernel.clock import Millis


async def insert_session(tx: Tx, session: Session) -> None:
    """Raises `UserGone` when the account has been deleted meanwhile."""
    values = {
        "family": session.family,
        "user_id": session.user_id,
        "current_hash": session.current_hash,
        "rotated_ms": session.rotated_at,
        "created_ms": session.rotated_at,
        "expires_ms": session.expires_at,
    }
    try:
        await tx.execute(insert(sessions).values(values))
    except IntegrityError as deleted:
        raise UserGone() from deleted


async def delete_ended_sessions(tx: Tx, user_id: int, *, now: Millis) -> None:
    """Forget the user's families that nobody can use any more."""
    ended = (sessions.c.expires_ms <= now) | sessions.c.revoked_ms.is_not(None)
    # What another transaction holds is left to the next time: waiting for it could end in a deadlock.
    found = select(sessions.c.family).where(sessions.c.user_id == user_id, ended).with_for_update(skip_locked=True)
    await tx.execute(delete(sessions).where(sessions.c.family.in_(found)))


async def is_alive(view: Reading, family: str, *, now: Millis) -> bool:
    """Whether the sign-in has neither ended nor been ended."""
    alive = (sessions.c.family == family) & sessions.c.revoked_ms.is_(None) & (sessions.c.expires_ms > now)
    return (await view.execute(select(sessions.c.family).where(alive))).one_or_none() is not None


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
    # A beginning far ahead comes from a clock that has been set right since.
    began = attempts.c.window_began_ms
    ended = (began <= now - window_millis) | (began > now + window_millis)
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


async def delete_ended_attempts(tx: Tx, *, now: Millis, window_millis: int) -> None:
    """Forget some windows that are over; as `delete_ended_sessions`, without waiting for anybody."""
    ended = attempts.c.window_began_ms <= now - window_millis
    found = select(attempts.c.key).where(ended).limit(100).with_for_update(skip_locked=True)
    await tx.execute(delete(attempts).where(attempts.c.key.in_(found)))
