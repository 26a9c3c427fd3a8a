"""SQL of signing in."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from datacollect.db import Reading, Tx, insert_into
from datacollect.features.auth.errors import UserGone
from datacollect.features.auth.model import LiveSession, Session
from datacollect.features.auth.tables import attempts, familiar_origins, sessions
from datacollect.kernel.clock import Millis
from datacollect.kernel.source import Source


async def insert_session(tx: Tx, session: Session, source: Source) -> None:
    """Raises `UserGone` when the account has been deleted meanwhile."""
    values = {
        "family": session.family,
        "user_id": session.user_id,
        "version": session.version,
        "current_hash": session.current_hash,
        "rotated_ms": session.rotated_at,
        "created_ms": session.rotated_at,
        "expires_ms": session.expires_at,
    } | _used(source, session.rotated_at)
    try:
        await tx.execute(insert(sessions).values(values))
    except IntegrityError as deleted:
        raise UserGone() from deleted


def _used(source: Source, now: Millis) -> dict[str, object]:
    return {"last_used_ms": now, "origin": source.origin, "user_agent": source.user_agent}


async def delete_ended_sessions(tx: Tx, user_id: int, *, version: int, now: Millis) -> None:
    """Forget the user's families that nobody can use any more. `version` is the account's."""
    ended = (sessions.c.expires_ms <= now) | sessions.c.revoked_ms.is_not(None) | (sessions.c.version < version)
    # What another transaction holds is left to the next time: waiting for it could end in a deadlock.
    found = select(sessions.c.family).where(sessions.c.user_id == user_id, ended).with_for_update(skip_locked=True)
    await tx.execute(delete(sessions).where(sessions.c.family.in_(found)))


def _lasts(now: Millis | BindParameter[Any]) -> ColumnElement[bool]:
    return sessions.c.revoked_ms.is_(None) & (sessions.c.expires_ms > now)


IS_ALIVE = exists().where(
    sessions.c.family == bindparam("family"), sessions.c.user_id == bindparam("signed_in"), _lasts(bindparam("now"))
)
"""Whether the sign-in `family` of the user `signed_in` has neither ended nor been ended, as a part of somebody else's
statement."""


async def list_live_sessions(
    view: Reading, user_id: int, *, version: int, now: Millis, limit: int
) -> Sequence[LiveSession]:
    """The last used first. `version` is the account's."""
    last_used = func.coalesce(sessions.c.last_used_ms, sessions.c.rotated_ms)
    current = or_(sessions.c.version.is_(None), sessions.c.version == version)
    wanted = select(sessions, last_used.label("used_ms")).where(sessions.c.user_id == user_id, current, _lasts(now))
    return [
        LiveSession(
            family=row.family,
            created_at=row.created_ms,
            last_used_at=row.used_ms,
            expires_at=row.expires_ms,
            origin=row.origin,
            user_agent=row.user_agent,
        )
        for row in await view.execute(wanted.order_by(last_used.desc(), sessions.c.family).limit(limit))
    ]


async def list_families(view: Reading, user_id: int, *, now: Millis) -> Sequence[str]:
    """Of all sign-ins of the user that last."""
    mine = select(sessions.c.family).where(sessions.c.user_id == user_id, _lasts(now))
    return (await view.execute(mine)).scalars().all()


async def lock_session(tx: Tx, family: str) -> Session | None:
    """The family, held until the transaction ends: two refreshes at once are judged one after the other."""
    row = (await tx.execute(select(sessions).where(sessions.c.family == family).with_for_update())).one_or_none()
    if row is None:
        return None
    return Session(
        family=row.family,
        user_id=row.user_id,
        version=row.version,
        current_hash=row.current_hash,
        previous_hash=row.previous_hash,
        rotated_at=row.rotated_ms,
        expires_at=row.expires_ms,
        revoked_at=row.revoked_ms,
    )


async def rotate_session(
    tx: Tx, session: Session, source: Source, *, new_hash: bytes, now: Millis, expires_at: Millis
) -> None:
    changes = {
        "current_hash": new_hash,
        "previous_hash": session.current_hash,
        "rotated_ms": now,
        "expires_ms": expires_at,
    } | _used(source, now)
    await tx.execute(update(sessions).where(sessions.c.family == session.family).values(changes))


async def touch_session(tx: Tx, family: str, source: Source, *, now: Millis) -> bool:
    """Note that the sign-in is in use; False when it has ended."""
    alive = (sessions.c.family == family) & _lasts(now)
    result = await tx.execute(update(sessions).where(alive).values(_used(source, now)))
    return result.rowcount == 1


async def revoke_session(tx: Tx, family: str, *, now: Millis) -> bool:
    """False when it had ended before."""
    alive = (sessions.c.family == family) & _lasts(now)
    result = await tx.execute(update(sessions).where(alive).values(revoked_ms=now))
    return result.rowcount == 1


async def revoke_sessions(tx: Tx, user_id: int, *, but: str | None, now: Millis) -> int:
    """End the user's families, all but one if need be; how many."""
    mine = and_(sessions.c.user_id == user_id, sessions.c.family != (but or ""), _lasts(now))
    # Locked in order, so that two who end them all cannot wait for each other.
    found = select(sessions.c.family).where(mine).order_by(sessions.c.family).with_for_update()
    result = await tx.execute(update(sessions).where(sessions.c.family.in_(found)).values(revoked_ms=now))
    return int(result.rowcount)


async def count_attempts(
    tx: Tx, keys: Sequence[str], *, now: Millis, window_millis: int
) -> Mapping[str, tuple[int, Millis]]:
    """Count one more attempt under each key; how many there are in its window, and when that began."""
    # A beginning far ahead comes from a clock that has been set right since.
    began = attempts.c.window_began_ms
    ended = (began <= now - window_millis) | (began > now + window_millis)
    statement = (
        _insert_attempts(tx, dict.fromkeys(keys, now), count=1)
        .on_conflict_do_update(
            index_elements=[attempts.c.key],
            set_={
                "count": case((ended, 1), else_=attempts.c.count + 1),
                "window_began_ms": case((ended, now), else_=began),
            },
        )
        .returning(attempts.c.key, attempts.c.count, attempts.c.window_began_ms)
    )
    rows = (await tx.execute(statement)).mappings()
    return {row["key"]: (row["count"], row["window_began_ms"]) for row in rows}


async def give_back(tx: Tx, windows: Mapping[str, Millis]) -> None:
    """Count one attempt less under each key, if its window is still the one that began then."""
    insert_ = _insert_attempts(tx, windows, count=0)
    same = (attempts.c.window_began_ms == insert_.excluded.window_began_ms) & (attempts.c.count > 0)
    less = case((same, attempts.c.count - 1), else_=attempts.c.count)
    await tx.execute(insert_.on_conflict_do_update(index_elements=[attempts.c.key], set_={"count": less}))


def _insert_attempts(tx: Tx, windows: Mapping[str, Millis], *, count: int) -> Any:
    # Rows are locked in the order of their keys, so that two attempts cannot wait for each other.
    rows = [{"key": key, "window_began_ms": began, "count": count} for key, began in sorted(windows.items())]
    return insert_into(tx, attempts).values(rows)


async def delete_ended_attempts(tx: Tx, *, now: Millis, window_millis: int) -> None:
    """Forget some windows that are over; as `delete_ended_sessions`, without waiting for anybody."""
    ended = attempts.c.window_began_ms <= now - window_millis
    found = select(attempts.c.key).where(ended).limit(100).with_for_update(skip_locked=True)
    await tx.execute(delete(attempts).where(attempts.c.key.in_(found)))


async def is_familiar(view: Reading, account: str, origin: str, *, since: Millis) -> bool:
    """Whether the account has signed in from there."""
    seen = (
        (familiar_origins.c.account == account)
        & (familiar_origins.c.origin == origin)
        & (familiar_origins.c.seen_ms > since)
    )
    return (await view.execute(select(familiar_origins.c.seen_ms).where(seen))).one_or_none() is not None


async def note_familiar(tx: Tx, account: str, origin: str, *, now: Millis) -> None:
    insert_ = insert_into(tx, familiar_origins)
    statement = insert_.values(account=account, origin=origin, seen_ms=now)
    await tx.execute(statement.on_conflict_do_update(index_elements=["account", "origin"], set_={"seen_ms": now}))


async def forget_familiar(tx: Tx, *, before: Millis) -> None:
    """Forget a few that nobody has signed in from for long; without waiting for anybody."""
    columns = familiar_origins.c
    old = select(columns.account, columns.origin).where(columns.seen_ms <= before).limit(100)
    place = tuple_(columns.account, columns.origin)
    await tx.execute(delete(familiar_origins).where(place.in_(old.with_for_update(skip_locked=True))))
