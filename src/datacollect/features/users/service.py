"""What can be done with accounts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datacollect.db import Reading, Tx
from datacollect.features.users import queries
from datacollect.features.users.errors import InvalidAccount, LastAdmin, UserExists, UserNotFound, WrongPassword
from datacollect.features.users.model import (
    LONGEST_PASSWORD,
    Memberships,
    User,
    broken_password_rules,
    normal_email,
    password_issues,
)
from datacollect.features.users.passwords import (
    HASHING_THREADS,
    NOBODYS_HASH,
    hash_password,
    is_outdated,
    verify_password,
)
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import Conflict, StartupError
from datacollect.kernel.identity import AccountRole, Action, Actor
from datacollect.kernel.ids import UserId

__all__ = [
    "HASHING_THREADS",
    "Account",
    "InvalidAccount",
    "User",
    "UserNotFound",
    "WrongPassword",
    "change_own_password",
    "create_user",
    "delete_user",
    "ensure_first_admin",
    "find_user",
    "find_user_and",
    "find_user_by_email",
    "hash_password",
    "is_right_password",
    "list_users",
    "modern_hash",
    "normal_email",
    "password_issues",
    "permissions_of",
    "replace_password_hash",
    "update_user",
]

find_user = queries.find_user
find_user_and = queries.find_user_and
list_users = queries.list_users


@dataclass(frozen=True, slots=True)
class Account:
    """An account to store. What is None stays as it is on update."""

    email: str
    role: AccountRole
    password_hash: str | None = None
    tenant_ids: Sequence[str] | None = None
    role_assignments: Sequence[Mapping[str, Any]] | None = None


async def ensure_first_admin(tx: Tx, *, email: str, password: str, now: Millis) -> bool:
    """Create the first administrator if there is none; True if it did. With one, the settings mean nothing.

    Raises `StartupError` for a weak password, or when the e-mail belongs to an ordinary account.
    """
    if await queries.count_admins(tx):
        return False
    broken = broken_password_rules(password)
    if broken:
        raise StartupError(f"ADMIN_PASSWORD does not meet strength requirements: {'; '.join(broken)}")
    account = Account(email, AccountRole.ADMIN, password_hash=await hash_password(password))
    try:
        await create_user(tx, account, now=now)
    except UserExists as taken:
        # Another process that started at the same moment may have been first.
        if await queries.count_admins(tx):
            return False
        raise StartupError(
            "There is no administrator, and ADMIN_EMAIL belongs to an ordinary user. Set another one."
        ) from taken
    return True


async def create_user(tx: Tx, account: Account, *, now: Millis) -> UserId:
    """Raises `UserExists`. The account needs a password hash."""
    assert account.password_hash is not None
    memberships = Memberships().changed(account.tenant_ids, account.role_assignments)
    return await queries.insert_user(
        tx,
        email=normal_email(account.email),
        password_hash=account.password_hash,
        role=account.role,
        tenant_ids=memberships.tenant_ids,
        role_assignments=memberships.assignments,
        now=now,
    )


async def update_user(tx: Tx, user_id: UserId, account: Account, *, now: Millis) -> None:
    """Raises `UserNotFound`, `UserExists`, `LastAdmin`. A new password ends all of the user's tokens."""
    admins = await queries.lock_admins(tx)
    user = await queries.find_user(tx, user_id)
    if user is None:
        raise UserNotFound()
    if account.role is not AccountRole.ADMIN and admins == [user_id]:
        raise LastAdmin()
    memberships = user.memberships.changed(account.tenant_ids, account.role_assignments)
    await queries.update_user(
        tx,
        user_id,
        now=now,
        email=normal_email(account.email),
        role=account.role.value,
        password_hash=account.password_hash or user.password_hash,
        tenant_ids=memberships.tenant_ids,
        role_assignments=memberships.assignments,
    )
    if account.password_hash is not None:
        await queries.raise_version(tx, user_id, now=now)


async def delete_user(tx: Tx, key: str) -> UserId:
    """Delete by id or e-mail. Raises `UserNotFound`, `LastAdmin`."""
    admins = await queries.lock_admins(tx)
    user = None
    if key.isascii() and key.isdigit() and len(key) < 10:
        user = await queries.find_user(tx, UserId(int(key)))
    user = user or await queries.find_user_by_email(tx, normal_email(key))
    if user is None:
        raise UserNotFound()
    if admins == [user.id]:
        raise LastAdmin()
    await queries.delete_user(tx, user.id)
    return user.id


async def find_user_by_email(view: Reading, email: str) -> User | None:
    return await queries.find_user_by_email(view, normal_email(email))


async def is_right_password(user: User | None, password: str) -> bool:
    """Takes the same time whether or not there is such a user. Holds no connection: it takes 20 ms.

    A text that is too long to be a password is not hashed at all.
    """
    if len(password) > LONGEST_PASSWORD:
        return False
    return await verify_password(password, user.password_hash if user else NOBODYS_HASH) and user is not None


async def modern_hash(user: User, password: str) -> str | None:
    """The hash to keep instead of one made by an older rule; None when there is nothing to replace.

    Apart from `replace_password_hash`, for no transaction should wait for a hash.
    """
    return await hash_password(password) if is_outdated(user.password_hash) else None


async def replace_password_hash(tx: Tx, user: User, password_hash: str, *, now: Millis) -> None:
    """Keep another hash of the same password, unless it has been changed meanwhile; the user's tokens stay valid."""
    await queries.replace_hash(tx, user.id, old=user.password_hash, new=password_hash, now=now)


async def change_own_password(tx: Tx, user: User, *, password_hash: str, now: Millis) -> None:
    """Raises `Conflict` if the password was changed meanwhile. Ends all of the user's tokens, the caller's too."""
    if not await queries.replace_hash(tx, user.id, old=user.password_hash, new=password_hash, now=now):
        raise Conflict("The password has just been changed by someone else.")
    await queries.raise_version(tx, user.id, now=now)


def permissions_of(actor: Actor) -> dict[str, list[str]]:
    """What the actor may do, per program; an administrator's stand under `*`."""
    if actor.is_admin:
        return {"*": [action.value for action in Action]}
    return {
        tenant: [action.value for action in Action if actor.may(tenant, action)] for tenant in sorted(actor.tenant_ids)
    }
