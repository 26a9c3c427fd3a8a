"""`/api/users`: accounts, for whoever manages them and for oneself."""

import re
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from datacollect.features.users import service
from datacollect.features.users.errors import InvalidAccount, InvalidUserQuery, UserNotFound
from datacollect.features.users.model import ListQuery, normal_email, password_issues
from datacollect.features.users.schemas import (
    AccountReply,
    Admission,
    Assignment,
    Me,
    UserCreate,
    UserDetail,
    UserOut,
    UserUpdate,
    unknown_members,
)
from datacollect.http.body import JsonBody, json_body, read_body
from datacollect.http.current import CurrentHub, get_hub
from datacollect.http.decoding import strict_json, validated
from datacollect.http.openapi import errors
from datacollect.http.policy import AnyAccount, CurrentUser, SignedIn
from datacollect.http.source import CurrentSource
from datacollect.http.wire import EMPTY_IS_ABSENT
from datacollect.kernel.errors import AdminRequired, InvalidPayload
from datacollect.kernel.identity import AccountRole, Action, Actor, Role
from datacollect.kernel.ids import TenantId, UserId

router = APIRouter(prefix="/api/users", tags=["User Management"])

MOST_PER_PAGE = 1000
MOST_UNPAGED = 10_000
"""Existing clients ask without a limit and show what they get, so it is high; and there is one all the same."""

_NUMBER = re.compile(r"[0-9]{1,9}")

_PAGE_HEADERS = {
    "X-Total-Count": {"description": "How many there are on all pages.", "schema": {"type": "integer"}},
    "X-Next-Cursor": {
        "description": "Send it as `cursor` for the next page; absent on the last one.",
        "schema": {"type": "string"},
    },
    "Link": {"description": "The next page, as `rel=next`.", "schema": {"type": "string"}},
}

IdOrEmail = Annotated[str, Path(alias="idOrEmail", description="The account's id or e-mail.")]


Manager = Annotated[Actor, Depends(SignedIn(action=Action.MANAGE_USERS, denied=AdminRequired))]
"""Who manages users at all: an ADMIN, or whoever may do it in some program. In which ones is the service's question."""


class _AccountBody(JsonBody):
    """Every issue is reported at once, each broken password rule too; `error` is all their texts."""

    async def __call__(self, request: Request) -> UserUpdate:
        document = strict_json(await read_body(request))
        account = document if isinstance(document, dict) else {}
        password = account.get("password")
        issues = []
        if isinstance(password, str):
            strict = (await get_hub(request)).settings.guessable_passwords_refused
            issues = password_issues(password, member="password", strict=strict, email=account.get("email"))
        try:
            body = validated(self.model, document)
        except InvalidPayload as invalid:
            raise InvalidAccount(invalid.issues + issues) from None
        if issues:
            raise InvalidAccount(issues)
        assert isinstance(body, UserUpdate)
        return body


@router.get(
    "/check-token",
    summary="Check an access token",
    tags=["Authentication"],
    response_model_exclude_none=True,
    responses=errors(401, 403),
)
async def check_token(actor: CurrentUser) -> AccountReply:
    """Answers 200 as long as the token opens routes."""
    return AccountReply(message="Token is valid")


@router.get(
    "/me",
    summary="The signed-in account",
    response_model=Me,
    response_model_exclude_unset=True,
    responses=errors(401, 403, 404),
)
async def get_me(hub: CurrentHub, actor: AnyAccount) -> dict[str, Any]:
    """The account as the database has it now, with the actions it may do somewhere in each program, how far it reads
    there, what it is in all of that, and a `hint` if it can do nothing."""
    async with hub.db.reading() as view:
        user = None if actor.user_id is None else await service.find_user(view, actor.user_id)
        if user is None:
            raise UserNotFound()
        explained = await service.explain(view, user, now=hub.clock.now())
    return user.to_wire() | explained


@router.get(
    "",
    summary="List accounts",
    response_model=list[UserOut],
    responses={200: {"headers": _PAGE_HEADERS}, **errors(400, 401, 403)},
)
async def list_users(
    hub: CurrentHub,
    manager: Manager,
    limit: Annotated[str | None, Query(description="At most this many, 1-1000.")] = None,
    cursor: Annotated[str | None, Query(description="From the page before.")] = None,
    search: Annotated[str, Query(max_length=320, description="Part of the e-mail.")] = "",
    tenant_id: Annotated[
        str | None, Query(alias="tenantId", description="Only members of this program."), EMPTY_IS_ABSENT
    ] = None,
    role: Annotated[
        str | None,
        Query(description="`ADMIN`, `USER`, or the highest role in `tenantId` or in any program."),
        EMPTY_IS_ABSENT,
    ] = None,
) -> Response:
    """Accounts, oldest first. Without `limit` all of them, but 10,000 at most; `Link` and `X-Next-Cursor` tell of more.

    Whoever manages the users of some programs gets the accounts of those programs, and of each what it is there.
    """
    query, most = _list_query(limit=limit, cursor=cursor, search=search, tenant_id=tenant_id, role=role)
    async with hub.db.reading() as view:
        page = await service.list_users(view, manager, query, limit=most)
    headers = {"X-Total-Count": str(page.total)}
    if page.following is not None:
        given = {"limit": limit, "search": search or None, "tenantId": tenant_id, "role": role}
        following = {name: value for name, value in given.items() if value is not None} | {"cursor": page.following}
        headers["X-Next-Cursor"] = str(page.following)
        headers["Link"] = f'</api/users?{urlencode(following)}>; rel="next"'
    # As bytes: checking thousands of accounts that the hub has written itself would hold everybody up.
    content = msgspec.json.encode([user.to_wire() for user in page.users])
    return Response(content, media_type="application/json", headers=headers)


@router.post(
    "",
    summary="Create an account",
    status_code=201,
    response_model_exclude_none=True,
    responses=errors(400, 401, 403, 409),
)
async def create_user(
    hub: CurrentHub,
    manager: Manager,
    source: CurrentSource,
    body: Annotated[UserCreate, Depends(_AccountBody(UserCreate))],
) -> AccountReply:
    """E-mails are trimmed and compared without regard to case. All broken password rules are reported at once. An
    assignment makes the account a member of its program. Every program must exist.

    Whoever manages the users of some programs creates accounts of role `USER` in those, with no more rights than their
    own. That an e-mail is taken is told to everybody who may create accounts."""
    account = await _account(body)
    async with hub.db.transaction() as tx:
        await service.create_user(tx, manager, account, source=source, now=hub.clock.now())
    return _done("User created successfully", body.role_assignments)


@router.post(
    "/memberships",
    summary="Add an account to a program",
    response_model_exclude_none=True,
    responses=errors(400, 401, 403, 404, 409),
)
async def admit_user(
    hub: CurrentHub,
    manager: Manager,
    source: CurrentSource,
    body: Annotated[Admission, json_body(Admission)],
) -> AccountReply:
    """For an account that exists, by its e-mail: it keeps what it has and becomes a member of the programs named. It
    must not belong to them yet. Administrators' accounts, and those without any program, are not found by others than
    administrators."""
    account = service.Account(
        email=body.email,
        role=AccountRole.USER,
        tenant_ids=body.tenant_ids,
        role_assignments=_assignments(body.role_assignments),
    )
    async with hub.db.transaction() as tx:
        user_id = await service.admit_user(tx, manager, account, source=source, now=hub.clock.now())
    hub.auth.forget(user_id)
    return _done("User added successfully", body.role_assignments)


@router.get("/{idOrEmail}", summary="One account", response_model=UserDetail, responses=errors(400, 401, 403, 404))
async def get_user(hub: CurrentHub, manager: Manager, key: IdOrEmail) -> dict[str, Any]:
    """By id or e-mail. Accounts that are none of your business are not found."""
    async with hub.db.reading() as view:
        user = await service.get_user(view, manager, key)
    return user.to_wire() | {"mustChangePassword": user.must_change_password}


@router.put(
    "/{idOrEmail}",
    summary="Change an account",
    response_model_exclude_none=True,
    responses=errors(400, 401, 403, 404, 409),
)
async def update_user(
    hub: CurrentHub,
    manager: Manager,
    source: CurrentSource,
    key: IdOrEmail,
    body: Annotated[UserUpdate, Depends(_AccountBody(UserUpdate))],
) -> AccountReply:
    """What is left out stays as it is, with one exception: the two lists are kept in step. `tenantIds` alone takes the
    roles in all other programs away; `roleAssignments` alone puts the account out of programs where it had a role and
    has none now. A new role takes effect at once; a new password ends all sessions.

    For whoever manages the users of some programs the lists speak of those programs only, and what the account is
    elsewhere stays. E-mail and password can be changed of accounts that belong to no other program."""
    account = await _account(body)
    async with hub.db.transaction() as tx:
        user_id = await service.update_user(tx, manager, key, account, source=source, now=hub.clock.now())
    hub.auth.forget(user_id)
    return _done("User updated successfully", body.role_assignments)


@router.delete(
    "/{idOrEmail}",
    summary="Delete an account",
    response_model_exclude_none=True,
    responses=errors(401, 403, 404, 409),
)
async def delete_user(hub: CurrentHub, manager: Manager, source: CurrentSource, key: IdOrEmail) -> AccountReply:
    """By id (all digits) or e-mail. Its tokens stop working at once. Accounts that belong to programs whose users you
    do not manage stay; take them out of yours by changing them."""
    async with hub.db.transaction() as tx:
        deleted = await service.delete_user(tx, manager, key, source=source, now=hub.clock.now())
    hub.auth.forget(deleted)
    return AccountReply(message="User deleted successfully")


async def _account(body: UserUpdate) -> service.Account:
    """The body as an account to store; hashing happens before any transaction is open."""
    return service.Account(
        email=body.email,
        role=body.role,
        password_hash=None if body.password is None else await service.hash_password(body.password),
        tenant_ids=body.tenant_ids,
        role_assignments=_assignments(body.role_assignments),
        must_change_password=body.must_change_password,
    )


def _assignments(assignments: Sequence[Assignment] | None) -> list[dict[str, Any]] | None:
    if assignments is None:
        return None
    return [
        one.model_dump(
            mode="json",
            by_alias=True,
            exclude_none=True,
            exclude={**dict.fromkeys(one.model_extra or (), True), "sync_scope_override": _extra_of_scope(one)},
        )
        for one in assignments
    ]


def _extra_of_scope(assignment: Assignment) -> set[str]:
    scope = assignment.sync_scope_override
    return set() if scope is None else set(scope.model_extra or ())


def _done(message: str, assignments: Sequence[Assignment] | None) -> AccountReply:
    return AccountReply(message=message, warnings=unknown_members(assignments or ()) or None)


def _list_query(
    *, limit: str | None, cursor: str | None, search: str, tenant_id: str | None, role: str | None
) -> tuple[ListQuery, int]:
    """What the parameters ask for, and how many at most. Raises `InvalidUserQuery`."""
    most = _number(limit) if limit is not None else MOST_UNPAGED
    if not 1 <= most <= (MOST_UNPAGED if limit is None else MOST_PER_PAGE):
        raise InvalidUserQuery()
    account_role = role if role in set(AccountRole) else None
    if role is not None and account_role is None and role not in set(Role):
        raise InvalidUserQuery()
    query = ListQuery(
        after=None if cursor is None else UserId(_number(cursor)),
        search=normal_email(search),
        account_role=None if account_role is None else AccountRole(account_role),
        programs=None if tenant_id is None else frozenset({TenantId(tenant_id)}),
        role=None if role is None or account_role is not None else Role(role),
    )
    return query, most


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise InvalidUserQuery()
    return int(text)
