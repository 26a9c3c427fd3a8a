"""SQL of accounts."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from datacollect.db import Reading, Tx
from datacollect.features.users.errors import UserExists
from datacollect.features.users.model import User
from datacollect.features.users.tables import users
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import AccountRole
from datacollect.kernel.ids import UserId


def _user(row: Row[Any]) -> User:
    return User(
        id=UserId(row.id),
        email=row.email,
        password_hash=row.password_hash,
        role=AccountRole(row.role),
        tenant_ids=tuple(msgspec.json.decode(row.tenant_ids)),
        role_assignments=tuple(msgspec.json.decode(row.role_assignments)),
        version=row.version,
    )


def _json(value: Sequence[Any]) -> str:
    return msgspec.json.encode(value).decode()


async def _find(view: Reading, condition: ColumnElement[bool]) -> User | None:
    row = (await view.execute(select(users).where(condition))).one_or_none()
    return None if row is None else _user(row)


async def find_user(view: Reading, user_id: UserId) -> User | None:
    return await _find(view, users.c.id == user_id)


async def find_user_and(view: Reading, user_id: UserId, also: ColumnElement[Any]) -> tuple[User, Any] | None:
    """The user and, in the same statement, what somebody else wants to know."""
    row = (await view.execute(select(users, also.label("also")).where(users.c.id == user_id))).one_or_none()
    return None if row is None else (_user(row), row.also)


async def find_user_by_email(view: Reading, email: str) -> User | None:
    """`email` is in its normal form."""
    return await _find(view, users.c.email == email)


async def list_users(view: Reading) -> list[User]:
    return [_user(row) for row in await view.execute(select(users).order_by(users.c.id))]


async def insert_user(
    tx: Tx,
    *,
    email: str,
    password_hash: str,
    role: AccountRole,
    tenant_ids: Sequence[str],
    role_assignments: Sequence[Any],
    now: Millis,
) -> UserId:
    """Raises `UserExists`."""
    values = {
        "email": email,
        "password_hash": password_hash,
        "role": role.value,
        "tenant_ids": _json(tenant_ids),
        "role_assignments": _json(role_assignments),
        "version": 1,
        "created_ms": now,
        "updated_ms": now,
    }
    # Not by letting the insert fail: on PostgreSQL that would end the transaction, and `ensure_first_admin` goes on.
    insert = (postgresql if tx.dialect == "postgresql" else sqlite).insert(users)
    statement = insert.values(values).on_conflict_do_nothing(index_elements=[users.c.email]).returning(users.c.id)
    user_id = (await tx.execute(statement)).scalar_one_or_none()
    if user_id is None:
        raise UserExists()
    return UserId(user_id)


async def update_user(tx: Tx, user_id: UserId, *, now: Millis, **changes: Any) -> None:
    """Change columns by name; JSON columns as values. Raises `UserExists` if the e-mail is someone else's."""
    for name in ("tenant_ids", "role_assignments"):
        if name in changes:
            changes[name] = _json(changes[name])
    try:
        await tx.execute(update(users).where(users.c.id == user_id).values(updated_ms=now, **changes))
    except IntegrityError as taken:
        raise UserExists() from taken


async def replace_hash(tx: Tx, user_id: UserId, *, old: str, new: str, now: Millis) -> bool:
    """Whether the hash was still `old`."""
    still = (users.c.id == user_id) & (users.c.password_hash == old)
    result = await tx.execute(update(users).where(still).values(password_hash=new, updated_ms=now))
    return result.rowcount == 1


async def raise_version(tx: Tx, user_id: UserId, *, now: Millis) -> None:
    """End every token the user has."""
    await tx.execute(update(users).where(users.c.id == user_id).values(version=users.c.version + 1, updated_ms=now))


async def delete_user(tx: Tx, user_id: UserId) -> None:
    await tx.execute(delete(users).where(users.c.id == user_id))


async def lock_admins(tx: Tx) -> list[UserId]:
    """The administrators, held until the transaction ends, so that two cannot remove each other at once."""
    admins = select(users.c.id).where(users.c.role == AccountRole.ADMIN.value).order_by(users.c.id).with_for_update()
    return [UserId(row.id) for row in await tx.execute(admins)]


async def count_admins(view: Reading) -> int:
    admins = select(func.count()).where(users.c.role == AccountRole.ADMIN.value)
    return int((await view.execute(admins)).scalar_one())
