"""SQL of signing in."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Executable,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from datacollect.db import Dialect, Reading, Tx, insert_for
from datacollect.features.auth.errors import UserGone
from datacollect.features.auth.model import LiveSession, Session
from datacollect.features.auth.tables import attempts, familiar_origins, sessions
from datacollect.kernel.clock import Millis
from datacollect.kernel.source import Source

_FORGOTTEN_AT_ONCE = 100

# Statements of each sign-in are made once: building one costs more than running it.
_INSERT_SESSION = insert(sessions)


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
        await tx.execute(_INSERT_SESSION, values)
    except IntegrityError as deleted:
        raise UserGone() from deleted


def _used(source: Source, now: Millis) -> dict[str, object]:
    return {"last_used_ms": now, "origin": source.origin, "user_agent": source.user_agent}


_ENDED = or_(
    sessions.c.expires_ms <= bindparam("now"),
    sessions.c.revoked_ms.is_not(None),
    sessions.c.version < bindparam("version_of_account"),
)
# What another transaction holds is left to the next time: waiting for it could end in a deadlock.
_ENDED_FAMILIES = (
    select(sessions.c.family)
    .where(sessions.c.user_id == bindparam("user"), _ENDED)
    .limit(_FORGOTTEN_AT_ONCE)
    .with_for_update(skip_locked=True)
)
_DELETE_ENDED_SESSIONS = delete(sessions).where(sessions.c.family.in_(_ENDED_FAMILIES))


async def delete_ended_sessions(tx: Tx, user_id: int, *, version: int, now: Millis) -> None:
    """Forget some of the user's families that nobody can use any more. `version` is the account's."""
    await tx.execute(_DELETE_ENDED_SESSIONS, {"user": user_id, "version_of_account": version, "now": now})


_LAST_USED = func.coalesce(sessions.c.last_used_ms, sessions.c.rotated_ms)
_UNUSED_FOR_LONGEST = (
    select(sessions.c.family)
    .where(
        sessions.c.user_id == bindparam("user"),
        sessions.c.family != bindparam("but"),
        sessions.c.revoked_ms.is_(None),
    )
    .order_by(_LAST_USED.desc(), sessions.c.family)
    .offset(bindparam("most"))
    .limit(_FORGOTTEN_AT_ONCE)
)
# Chosen first and locked then: to lock while choosing would lock those that stay.
_DELETE_SURPLUS_SESSIONS = delete(sessions).where(
    sessions.c.family.in_(
        select(sessions.c.family).where(sessions.c.family.in_(_UNUSED_FOR_LONGEST)).with_for_update(skip_locked=True)
    )
)


async def delete_surplus_sessions(tx: Tx, user_id: int, *, most: int, but: str) -> int:
    """End some of the user's families beside `but` that are more than `most`, those unused for longest; how many."""
    result = await tx.execute(_DELETE_SURPLUS_SESSIONS, {"user": user_id, "most": most, "but": but})
    return int(result.rowcount)


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
    current = or_(sessions.c.version.is_(None), sessions.c.version == version)
    wanted = select(sessions, _LAST_USED.label("used_ms")).where(sessions.c.user_id == user_id, current, _lasts(now))
    return [
        LiveSession(
            family=row.family,
            created_at=row.created_ms,
            last_used_at=row.used_ms,
            expires_at=row.expires_ms,
            origin=row.origin,
            user_agent=row.user_agent,
        )
        for row in await view.execute(wanted.order_by(_LAST_USED.desc(), sessions.c.family).limit(limit))
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
    windows = dict.fromkeys(keys, now)
    told = _windows(windows) | {"now": now, "before": now - window_millis, "after": now + window_millis}
    rows = (await tx.execute(_counting(tx.dialect, len(windows)), told)).mappings()
    return {row["key"]: (row["count"], row["window_began_ms"]) for row in rows}


async def give_back(tx: Tx, windows: Mapping[str, Millis]) -> None:
    """Count one attempt less under each key, if its window is still the one that began then."""
    await tx.execute(_giving_back(tx.dialect, len(windows)), _windows(windows))


async def give_back_earlier(tx: Tx, limits: Mapping[str, int], *, counted_at: Millis) -> None:
    """Count one attempt less than there are, or than the limit, under each key, if it was in the window that is still the
    last."""
    same = attempts.c.key.in_(limits) & (attempts.c.window_began_ms <= counted_at) & (attempts.c.count > 0)
    # Locked in order, as those that are counted.
    found = select(attempts.c.key).where(same).order_by(attempts.c.key).with_for_update()
    most = case(limits, value=attempts.c.key)
    less = case((attempts.c.count > most, most), else_=attempts.c.count) - 1
    await tx.execute(update(attempts).where(attempts.c.key.in_(found)).values(count=less))


@functools.cache
def _counting(dialect: Dialect, keys: int) -> Executable:
    # A beginning far ahead comes from a clock that has been set right since.
    began = attempts.c.window_began_ms
    ended = (began <= bindparam("before")) | (began > bindparam("after"))
    counted = _insert_attempts(dialect, keys, count=1).on_conflict_do_update(
        index_elements=[attempts.c.key],
        set_={
            "count": case((ended, 1), else_=attempts.c.count + 1),
            "window_began_ms": case((ended, bindparam("now", type_=began.type)), else_=began),
        },
    )
    return counted.returning(attempts.c.key, attempts.c.count, attempts.c.window_began_ms)


@functools.cache
def _giving_back(dialect: Dialect, keys: int) -> Executable:
    insert_ = _insert_attempts(dialect, keys, count=0)
    same = (attempts.c.window_began_ms == insert_.excluded.window_began_ms) & (attempts.c.count > 0)
    less = case((same, attempts.c.count - 1), else_=attempts.c.count)
    return insert_.on_conflict_do_update(index_elements=[attempts.c.key], set_={"count": less})


def _insert_attempts(dialect: Dialect, keys: int, *, count: int) -> postgresql.Insert | sqlite.Insert:
    # Not as VALUES: what gives several rows in that way is compiled anew each time.
    rows = union_all(
        *(
            select(
                bindparam(f"key_{number}", type_=attempts.c.key.type),
                bindparam(f"began_{number}", type_=attempts.c.window_began_ms.type),
                literal(count, attempts.c.count.type),
            ).where(true())
            for number in range(keys)
        )
    )
    return insert_for(dialect, attempts).from_select(["key", "window_began_ms", "count"], rows)


def _windows(windows: Mapping[str, Millis]) -> dict[str, Any]:
    # Rows are locked in the order of their keys, so that two attempts cannot wait for each other.
    told: dict[str, Any] = {}
    for number, (key, began) in enumerate(sorted(windows.items())):
        told |= {f"key_{number}": key, f"began_{number}": began}
    return told


_ENDED_ATTEMPTS = (
    select(attempts.c.key)
    .where(attempts.c.window_began_ms <= bindparam("before"))
    .limit(_FORGOTTEN_AT_ONCE)
    .with_for_update(skip_locked=True)
)
_DELETE_ENDED_ATTEMPTS = delete(attempts).where(attempts.c.key.in_(_ENDED_ATTEMPTS))


async def delete_ended_attempts(tx: Tx, *, now: Millis, window_millis: int) -> None:
    """Forget some windows that are over; as `delete_ended_sessions`, without waiting for anybody."""
    await tx.execute(_DELETE_ENDED_ATTEMPTS, {"before": now - window_millis})


_SEEN_FROM_THERE = select(familiar_origins.c.seen_ms).where(
    familiar_origins.c.account == bindparam("account"),
    familiar_origins.c.origin == bindparam("origin"),
    familiar_origins.c.seen_ms > bindparam("since"),
)


async def is_familiar(view: Reading, account: str, origin: str, *, since: Millis) -> bool:
    """Whether the account has signed in from there."""
    seen = await view.execute(_SEEN_FROM_THERE, {"account": account, "origin": origin, "since": since})
    return seen.one_or_none() is not None


async def note_familiar(tx: Tx, account: str, origin: str, *, now: Millis) -> None:
    await tx.execute(_noting_familiar(tx.dialect), {"account": account, "origin": origin, "seen_ms": now})


@functools.cache
def _noting_familiar(dialect: Dialect) -> Executable:
    insert_ = insert_for(dialect, familiar_origins)
    seen = {"seen_ms": insert_.excluded.seen_ms}
    return insert_.on_conflict_do_update(index_elements=["account", "origin"], set_=seen)


_STRANGE_AGAIN = (
    select(familiar_origins.c.account, familiar_origins.c.origin)
    .where(familiar_origins.c.seen_ms <= bindparam("before"))
    .limit(_FORGOTTEN_AT_ONCE)
    .with_for_update(skip_locked=True)
)
_FORGET_FAMILIAR = delete(familiar_origins).where(
    tuple_(familiar_origins.c.account, familiar_origins.c.origin).in_(_STRANGE_AGAIN)
)


async def forget_familiar(tx: Tx, *, before: Millis) -> None:
    """Forget a few that nobody has signed in from for long; without waiting for anybody."""
    await tx.execute(_FORGET_FAMILIAR, {"before": before})
