"""SQL of accounts."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Row, Select, bindparam, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from datacollect.db import Reading, Tx, insert_into
from datacollect.features.users.errors import UserExists
from datacollect.features.users.model import ListQuery, User
from datacollect.features.users.tables import user_tenants, users
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import AccountRole, TenantScope
from datacollect.kernel.ids import UserId

_T = TypeVar("_T")

MOST_BYTES = 16 * 1024 * 1024
"""Of the accounts of one page: what somebody reaches in a program may be a list of thousands of areas."""


def _user(row: Row[Any]) -> User:
    return User(
        id=UserId(row.id),
        email=row.email,
        password_hash=row.password_hash,
        role=AccountRole(row.role),
        tenant_ids=tuple(msgspec.json.decode(row.tenant_ids)),
        role_assignments=tuple(msgspec.json.decode(row.role_assignments)),
        version=row.version,
        must_change_password=row.must_change_password,
    )


def _values(user: User) -> dict[str, Any]:
    return {
        "email": user.email,
        "password_hash": user.password_hash,
        "role": user.role.value,
        "tenant_ids": _json(user.tenant_ids),
        "role_assignments": _json(user.role_assignments),
        "must_change_password": user.must_change_password,
    }


def _json(value: Sequence[Any]) -> str:
    return msgspec.json.encode(value).decode()


# Made once, as they are for each sign-in and each change of an account: building one costs more than running it.
_BY_ID = select(users).where(users.c.id == bindparam("wanted"))
_BY_EMAIL = select(users).where(users.c.email == bindparam("wanted"))


async def _find(view: Reading, statement: Select[Any], wanted: object) -> User | None:
    row = (await view.execute(statement, {"wanted": wanted})).one_or_none()
    return None if row is None else _user(row)


async def find_user(view: Reading, user_id: UserId) -> User | None:
    return await _find(view, _BY_ID, user_id)


async def find_user_and(
    view: Reading, user_id: UserId, also: ColumnElement[_T], told: Mapping[str, Any]
) -> tuple[User, _T] | None:
    """The user and, in the same statement, what somebody else wants to know; `told` are the values of its parameters."""
    row = (await view.execute(_user_and(also), {"id_of_user": user_id, **told})).one_or_none()
    return None if row is None else (_user(row), row.also)


@lru_cache(maxsize=8)
def _user_and(also: ColumnElement[Any]) -> Select[Any]:
    """Made once for each question: to put it together costs more than to run it."""
    return select(users, also.label("also")).where(users.c.id == bindparam("id_of_user"))


async def find_user_by_email(view: Reading, forms: Sequence[str]) -> User | None:
    """The account that is stored under one of these forms of its e-mail, of several the first."""
    if len(forms) == 1:
        return await _find(view, _BY_EMAIL, forms[0])
    found = [_user(row) for row in await view.execute(select(users).where(users.c.email.in_(forms)))]
    return min(found, key=lambda user: forms.index(user.email), default=None)


async def find_users(view: Reading, user_ids: Collection[UserId]) -> Mapping[UserId, User]:
    """Those that there are."""
    found = await view.execute(select(users).where(users.c.id.in_(sorted(user_ids))))
    return {user.id: user for user in map(_user, found)}


async def list_users(view: Reading, query: ListQuery, *, limit: int) -> tuple[list[User], bool]:
    """By id, after `query.after`; and whether they are so long that these are all for now, though there may be more."""
    found = matching(select(users), query)
    if query.after is not None:
        found = found.where(users.c.id > query.after)
    texts = (users.c.role_assignments, users.c.tenant_ids)
    portion = await view.execute_portion(found.order_by(users.c.id).limit(limit), texts=texts, most_bytes=MOST_BYTES)
    return [_user(row) for row in portion.rows], portion.is_cut


async def count_users(view: Reading, query: ListQuery) -> int:
    """How many there are on all pages together."""
    return int((await view.execute(matching(select(func.count()).select_from(users), query))).scalar_one())


def matching(wanted: Select[Any], query: ListQuery) -> Select[Any]:
    """`wanted` of those accounts that the query asks for."""
    if query.search:
        wanted = wanted.where(users.c.email.contains(query.search, autoescape=True))
    if query.account_role is not None:
        wanted = wanted.where(users.c.role == query.account_role.value)
    if query.no_admins:
        wanted = wanted.where(users.c.role != AccountRole.ADMIN.value)
    if query.programs is None and query.role is None:
        return wanted
    members = select(user_tenants.c.user_id)
    if query.programs is not None:
        members = members.where(user_tenants.c.tenant_id.in_(sorted(query.programs)))
    if query.role is not None:
        members = members.where(user_tenants.c.role == query.role.value)
    return wanted.where(users.c.id.in_(members))


async def list_naming(tx: Tx, scope: TenantScope) -> list[User]:
    """All accounts that name the program among theirs, administrators too; and a few that only seem to.

    By the accounts themselves, which are what counts, and not by the rows that lists are made from.
    """
    name = f'"{scope.tenant_id}"'
    naming = [column.contains(name, autoescape=True) for column in (users.c.tenant_ids, users.c.role_assignments)]
    return [_user(row) for row in await tx.execute(select(users).where(or_(*naming)).order_by(users.c.id))]


async def lock_users(tx: Tx, user_ids: Iterable[UserId]) -> Mapping[UserId, User]:
    """Those of the accounts that are no administrators, held until the transaction ends.

    In the order of their ids, and administrators not at all (`lock_admins` does that), so that nobody waits in a circle.
    """
    ordinary = users.c.id.in_(sorted(set(user_ids))) & (users.c.role != AccountRole.ADMIN.value)
    rows = await tx.execute(select(users).where(ordinary).order_by(users.c.id).with_for_update())
    return {UserId(row.id): _user(row) for row in rows}


async def lock_user(tx: Tx, user_id: UserId) -> User | None:
    row = (await tx.execute(select(users).where(users.c.id == user_id).with_for_update())).one_or_none()
    return None if row is None else _user(row)


async def insert_user(tx: Tx, user: User, *, now: Millis) -> UserId:
    """Gives the new account's id. Raises `UserExists`."""
    values = {**_values(user), "version": user.version, "created_ms": now, "updated_ms": now}
    # Not by letting the insert fail: on PostgreSQL that would end the transaction, and `ensure_first_admin` goes on.
    insert = insert_into(tx, users)
    statement = insert.values(values).on_conflict_do_nothing(index_elements=[users.c.email]).returning(users.c.id)
    user_id = (await tx.execute(statement)).scalar_one_or_none()
    if user_id is None:
        raise UserExists()
    return UserId(user_id)


async def update_user(tx: Tx, user: User, *, now: Millis) -> None:
    """Store what the account has become. Raises `UserExists` if the e-mail is someone else's."""
    changed = update(users).where(users.c.id == user.id).values(**_values(user), updated_ms=now)
    try:
        await tx.execute(changed)
    except IntegrityError as taken:
        raise UserExists() from taken


async def store_memberships(tx: Tx, user: User) -> None:
    """What lists find the account by: its role in each of its programs."""
    await tx.execute(delete(user_tenants).where(user_tenants.c.user_id == user.id))
    rows = [
        {"tenant_id": tenant_id, "user_id": user.id, "role": None if role is None else role.value}
        for tenant_id, role in user.roles().items()
    ]
    if rows:
        await tx.execute(user_tenants.insert(), rows)


async def replace_hash(tx: Tx, user_id: UserId, *, old: str, new: str, now: Millis) -> bool:
    """Whether the hash was still `old`."""
    still = (users.c.id == user_id) & (users.c.password_hash == old)
    result = await tx.execute(update(users).where(still).values(password_hash=new, updated_ms=now))
    return result.rowcount == 1


async def clear_forced_change(tx: Tx, user_id: UserId) -> None:
    await tx.execute(update(users).where(users.c.id == user_id).values(must_change_password=False))


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
