"""What can be done with accounts."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datacollect.db import Reading, Tx
from datacollect.features.security_log.service import SecurityAction, record
from datacollect.features.tenants import asked as tenants
from datacollect.features.users import queries
from datacollect.features.users.delegation import (
    admitted,
    changed_memberships,
    judge_change,
    managed_programs,
    require_managed,
    require_manager,
    seen_by,
    shown_to,
)
from datacollect.features.users.errors import (
    InvalidAccount,
    LastAdmin,
    ProgramRequired,
    UserExists,
    UserNotFound,
    WrongPassword,
)
from datacollect.features.users.model import (
    LONGEST_PASSWORD,
    ListQuery,
    Memberships,
    User,
    broken_password_rules,
    difference,
    exact_key_of,
    hint_for,
    key_of,
    normal_email,
    password_issues,
    same_password_issue,
    standing,
    stored_forms,
)
from datacollect.features.users.passwords import (
    HASHING_THREADS,
    hash_password,
    is_outdated,
    verify_password,
)
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import (
    AdminRequired,
    Conflict,
    DataCollectError,
    Issue,
    IssueCode,
    StartupError,
    Unauthenticated,
)
from datacollect.kernel.identity import COMMAND_LINE, SYSTEM, AccountRole, Action, Actor, TenantScope
from datacollect.kernel.ids import DEFAULT_TENANT, TenantId, UserId
from datacollect.kernel.source import Source

__all__ = [
    "HASHING_THREADS",
    "Account",
    "InvalidAccount",
    "User",
    "UserNotFound",
    "WrongPassword",
    "admit_user",
    "alter_user",
    "change_own_password",
    "create_user",
    "delete_user",
    "ensure_first_admin",
    "explain",
    "find_user",
    "find_user_and",
    "find_user_by_email",
    "get_user",
    "hash_password",
    "is_right_password",
    "leave_program",
    "list_users",
    "modern_hash",
    "normal_email",
    "password_issues",
    "replace_password_hash",
    "same_password_issue",
    "update_user",
]

find_user = queries.find_user
find_user_and = queries.find_user_and

_NOBODY = UserId(0)
"""The id of an account that is not stored yet."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account to store. What is None stays as it is on update."""

    email: str
    role: AccountRole
    password_hash: str | None = None
    tenant_ids: Sequence[str] | None = None
    role_assignments: Sequence[Mapping[str, Any]] | None = None
    must_change_password: bool | None = None

    @property
    def named_programs(self) -> Iterator[tuple[list[str | int], str]]:
        """Each program the request names, and where."""
        for index, tenant in enumerate(self.tenant_ids or ()):
            yield ["tenantIds", index], tenant
        for index, assignment in enumerate(self.role_assignments or ()):
            yield ["roleAssignments", index, "tenantId"], assignment["tenantId"]


@dataclass(frozen=True, slots=True)
class Page:
    """Accounts as the reader may see them."""

    users: Sequence[User]
    total: int
    """On all pages together."""
    following: UserId | None
    """Where the next page begins after; None on the last one."""


async def ensure_first_admin(tx: Tx, *, email: str, password: str, strict: bool, now: Millis) -> bool:
    """Create the first administrator if there is none; True if it did. With one, the settings mean nothing.

    `strict` as for `broken_password_rules`. Raises `StartupError` for a weak password, or when the e-mail belongs to an
    ordinary account.
    """
    if await queries.count_admins(tx):
        return False
    broken = broken_password_rules(password, strict=strict, email=email)
    if broken:
        raise StartupError(f"ADMIN_PASSWORD does not meet strength requirements: {'; '.join(broken)}")
    account = Account(email, AccountRole.ADMIN, password_hash=await hash_password(password))
    try:
        await _insert(tx, SYSTEM, _new_user(account), source=None, now=now)
    except UserExists as taken:
        # Another process that started at the same moment may have been first.
        if await queries.count_admins(tx):
            return False
        raise StartupError(
            "There is no administrator, and ADMIN_EMAIL belongs to an ordinary user. Set another one."
        ) from taken
    return True


async def create_user(tx: Tx, manager: Actor, account: Account, *, source: Source | None, now: Millis) -> UserId:
    """Raises `UserExists`, and for delegates what `judge_change` raises. The account needs a password hash."""
    manager = await _manager_now(tx, manager)
    require_managed(manager, [tenant for _, tenant in account.named_programs])
    await _require_programs(tx, account, known=())
    user = _new_user(account)
    judge_change(manager, None, user)
    return await _insert(tx, manager, user, source=source, now=now)


async def get_user(view: Reading, manager: Actor, key: str) -> User:
    """By id or e-mail, as far as the manager may see it. Raises `UserNotFound`, `InvalidUserId`."""
    user = await _find(view, key_of(key))
    if user is None:
        raise UserNotFound()
    return shown_to(manager, user)


async def list_users(view: Reading, manager: Actor, query: ListQuery, *, limit: int) -> Page:
    """A page of the accounts the manager may see, in two statements. Raises `ForeignProgram`."""
    require_managed(manager, sorted(query.programs or ()))
    if not manager.is_admin:
        query = replace(query, programs=query.programs or managed_programs(manager), no_admins=True)
    found, is_cut = await queries.list_users(view, query, limit=limit + 1)
    following = found[:limit][-1].id if is_cut or len(found) > limit else None
    # A row that another release wrote may belong nowhere any more: what is shown is decided by the account itself.
    page = [seen for user in found[:limit] if (seen := seen_by(manager, user)) is not None]
    return Page(page, await queries.count_users(view, query), following)


async def update_user(
    tx: Tx, manager: Actor, key: str, account: Account, *, source: Source | None, now: Millis
) -> UserId:
    """Raises `UserNotFound`, `UserExists`, `LastAdmin`, and for delegates what `judge_change` raises.

    A new password ends all of the user's tokens.
    """
    manager, before, admins = await _locked(tx, manager, key_of(key))
    shown_to(manager, before)
    require_managed(manager, [tenant for _, tenant in account.named_programs])
    await _require_programs(tx, account, known=before.tenant_ids)
    memberships = changed_memberships(manager, before.memberships, account.tenant_ids, account.role_assignments)
    forced = account.must_change_password
    after = replace(
        before.with_memberships(memberships),
        email=normal_email(account.email),
        role=account.role,
        password_hash=account.password_hash or before.password_hash,
        must_change_password=before.must_change_password if forced is None else forced,
    )
    judge_change(manager, before, after)
    if after.role is not AccountRole.ADMIN and admins == [before.id]:
        raise LastAdmin()
    await _store(tx, manager, before, after, source=source, now=now)
    return before.id


async def alter_user(
    tx: Tx, manager: Actor, key: str, change: Callable[[User], User], *, source: Source | None, now: Millis
) -> User:
    """Store what `change` makes of the account as it is now, and give that; nothing is stored if it is the same.

    Unlike `update_user` it needs no copy of the account that may be out of date by then. Raises as that does.
    """
    manager, before, admins = await _locked(tx, manager, exact_key_of(key))
    shown_to(manager, before)
    after = change(before)
    if after == before:
        return after
    named = Account(
        after.email, after.role, tenant_ids=after.tenant_ids, role_assignments=after.memberships.assignments
    )
    await _require_programs(tx, named, known=before.tenant_ids)
    judge_change(manager, before, after)
    if after.role is not AccountRole.ADMIN and admins == [before.id]:
        raise LastAdmin()
    await _store(tx, manager, before, after, source=source, now=now)
    return after


async def admit_user(tx: Tx, manager: Actor, account: Account, *, source: Source | None, now: Millis) -> UserId:
    """Add the account of that e-mail to programs it does not belong to yet; nothing else of it changes.

    Raises `UserNotFound`, `AlreadyMember`, and for delegates what `judge_admission` raises.
    """
    # What is wrong with the request itself comes first: it must not tell whether there is such an account.
    require_managed(manager, [tenant for _, tenant in account.named_programs])
    given = Memberships().changed(account.tenant_ids, account.role_assignments)
    if not given.tenant_ids:
        raise ProgramRequired()
    await _require_programs(tx, account, known=())
    manager, before, _ = await _locked(tx, manager, normal_email(account.email))
    after = admitted(manager, before, given)
    await _store(tx, manager, before, after, source=source, now=now)
    return before.id


async def delete_user(tx: Tx, manager: Actor, key: str, *, source: Source | None, now: Millis) -> UserId:
    """Delete by id or e-mail. Raises `UserNotFound`, `LastAdmin`, and for delegates what `judge_change` raises."""
    manager, before, admins = await _locked(tx, manager, exact_key_of(key))
    shown_to(manager, before)
    judge_change(manager, before, None)
    if admins == [before.id]:
        raise LastAdmin()
    await queries.delete_user(tx, before.id)
    await _record(tx, SecurityAction.USER_DELETED, manager, before, None, source=source, now=now)
    return before.id


async def leave_program(tx: Tx, scope: TenantScope, *, most: int, now: Millis) -> Sequence[UserId]:
    """Put so many accounts out of a program that is gone, so that a later one of its id is not theirs.

    Gives those that were; none when nobody belongs to it any more.
    """
    gone = [scope.tenant_id]
    members = [
        user.id for user in await queries.list_naming(tx, scope) if user.memberships.within(gone) != Memberships()
    ]
    members = members[:most]
    if not members:
        return ()
    # In the order in which everybody locks accounts: administrators first.
    await queries.lock_admins(tx)
    await queries.lock_users(tx, members)
    for user_id in members:
        before = await queries.find_user(tx, user_id)
        if before is not None:
            after = before.with_memberships(before.memberships.without(gone))
            await _store(tx, scope.actor, before, after, source=None, now=now)
    return members


def _new_user(account: Account) -> User:
    assert account.password_hash is not None
    memberships = Memberships().changed(account.tenant_ids, account.role_assignments)
    return User(
        id=_NOBODY,
        email=normal_email(account.email),
        password_hash=account.password_hash,
        role=account.role,
        tenant_ids=memberships.tenant_ids,
        role_assignments=memberships.assignments,
        version=1,
        must_change_password=bool(account.must_change_password),
    )


async def _insert(tx: Tx, manager: Actor, user: User, *, source: Source | None, now: Millis) -> UserId:
    await _require_free(tx, user)
    user = replace(user, id=await queries.insert_user(tx, user, now=now))
    await queries.store_memberships(tx, user)
    await _record(tx, SecurityAction.USER_CREATED, manager, None, user, source=source, now=now)
    return user.id


async def _require_free(tx: Tx, user: User) -> None:
    """What the index of e-mails does not see. Raises `UserExists` if an older account has this one in another form."""
    if not user.email.isascii():
        found = await find_user_by_email(tx, user.email)
        if found is not None and found.id != user.id:
            raise UserExists()


async def _store(tx: Tx, manager: Actor, before: User, after: User, *, source: Source | None, now: Millis) -> None:
    await _require_free(tx, after)
    await queries.update_user(tx, after, now=now)
    await queries.store_memberships(tx, after)
    if after.password_hash != before.password_hash:
        await queries.raise_version(tx, after.id, now=now)
    await _record(tx, SecurityAction.USER_CHANGED, manager, before, after, source=source, now=now)


async def _manager_now(tx: Tx, manager: Actor) -> Actor:
    """The manager as the database has them in this transaction: the request's may be a second old."""
    if manager == COMMAND_LINE:
        return manager
    assert manager.user_id is not None
    user = await queries.lock_user(tx, manager.user_id)
    if user is None:
        raise _gone()
    actor = user.to_actor()
    require_manager(actor)
    return actor


async def _locked(tx: Tx, manager: Actor, key: UserId | str) -> tuple[Actor, User, Sequence[UserId]]:
    """Manager and account as they are now, held until the transaction ends; with an ADMIN, all administrators.

    Administrators first, then others by id: so nobody waits in a circle, and two cannot remove each other at once.
    """
    admins = await queries.lock_admins(tx) if manager.is_admin else []
    found = await _find(tx, key)
    if manager.is_admin:
        if manager.user_id not in admins and manager != COMMAND_LINE:
            raise await _no_longer(tx, manager)
        account = None if found is None else await queries.lock_user(tx, found.id)
    else:
        assert manager.user_id is not None
        locked = await queries.lock_users(tx, [manager.user_id, *([] if found is None else [found.id])])
        if manager.user_id not in locked:
            raise await _no_longer(tx, manager)
        manager = locked[manager.user_id].to_actor()
        require_manager(manager)
        account = None if found is None else locked.get(found.id)
    if account is None:
        raise UserNotFound()
    return manager, account, admins


async def _no_longer(tx: Tx, manager: Actor) -> DataCollectError:
    """Why the manager, who was one a moment ago, is none now."""
    assert manager.user_id is not None
    return _gone() if await queries.find_user(tx, manager.user_id) is None else AdminRequired()


def _gone() -> DataCollectError:
    return Unauthenticated("User no longer exists")


async def _find(view: Reading, key: UserId | str) -> User | None:
    """By id, or by an e-mail in its normal form."""
    return await (find_user_by_email(view, key) if isinstance(key, str) else queries.find_user(view, key))


async def _require_programs(tx: Tx, account: Account, *, known: Collection[str]) -> None:
    """Raises `InvalidAccount` for programs that do not exist; those that do are not purged before `tx` ends, for a
    membership that came behind the purge would be one of the next program of the id. What an account has had before is
    not asked about.

    `default` needs no program: deployments of the reference give it to every reviewer, whose requests named no other.
    """
    named = [(path, tenant) for path, tenant in account.named_programs if tenant not in (*known, DEFAULT_TENANT)]
    existing = await tenants.hold_all(tx, {TenantId(tenant) for _, tenant in named})
    issues = [
        Issue(code=IssueCode.UNKNOWN_PROGRAM, path=path, message=f"There is no program {tenant!r}")
        for path, tenant in named
        if tenant not in existing
    ]
    if issues:
        raise InvalidAccount(issues)


async def _record(
    tx: Tx,
    action: SecurityAction,
    manager: Actor,
    before: User | None,
    after: User | None,
    *,
    source: Source | None,
    now: Millis,
) -> None:
    """What was done to an account; under the name of the program if it is about one alone."""
    account = after or before
    assert account is not None
    told = difference(before, after)
    programs = list(told["programs"])
    await record(
        tx,
        action,
        source=source,
        now=now,
        actor=manager.user_id,
        subject=account.id,
        tenant_id=TenantId(programs[0]) if len(programs) == 1 else None,
        details=told,
    )


find_users = queries.find_users


async def find_user_by_email(view: Reading, email: str) -> User | None:
    return await queries.find_user_by_email(view, stored_forms(email))


async def is_right_password(user: User | None, password: str) -> bool:
    """Takes the same time whether or not there is such a user. Holds no connection: it takes 20 ms.

    A text that is too long to be a password is not hashed at all.
    """
    if len(password) > LONGEST_PASSWORD:
        return False
    return await verify_password(password, user.password_hash if user else None)


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
    await queries.clear_forced_change(tx, user.id)
    await queries.raise_version(tx, user.id, now=now)


async def explain(view: Reading, user: User, *, now: Millis) -> dict[str, Any]:
    """What the account's owner should know of it, in wire form."""
    actor = user.to_actor()
    parts = {} if actor.is_admin else user.by_program()
    states = await tenants.states(view, parts.keys())
    told: dict[str, Any] = {
        "mustChangePassword": user.must_change_password,
        "permissions": permissions_of(user),
        "programs": [
            standing(tenant_id, part, state=states.get(tenant_id, "unknown"), now=now)
            for tenant_id, part in sorted(parts.items())
        ],
    }
    hint = None if actor.is_admin else hint_for(told["permissions"], states)
    return told if hint is None else told | {"hint": hint}


def permissions_of(user: User) -> dict[str, list[str]]:
    """What the account may do somewhere in each program; an administrator's stand under `*`."""
    if user.role is AccountRole.ADMIN:
        return {"*": [action.value for action in Action]}
    parts = sorted(user.by_program().items())
    return {tenant: [action.value for action in Action if part.may(tenant, action)] for tenant, part in parts}
