"""`/api/users`: accounts, for administrators and for oneself."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request

from datacollect.features.users import service
from datacollect.features.users.errors import InvalidAccount, InvalidUserId, UserNotFound
from datacollect.features.users.model import password_issues
from datacollect.features.users.schemas import Done, Me, UserCreate, UserOut, UserUpdate
from datacollect.http.body import JsonBody, read_body, strict_json, validated
from datacollect.http.hub import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import CurrentAdmin, CurrentUser
from datacollect.kernel.errors import InvalidPayload
from datacollect.kernel.ids import UserId

router = APIRouter(prefix="/api/users", tags=["User Management"])


class _AccountBody(JsonBody):
    """Every issue is reported at once, each broken password rule too; `error` is all their texts."""

    async def __call__(self, request: Request) -> UserUpdate:
        document = strict_json(await read_body(request))
        password = document.get("password") if isinstance(document, dict) else None
        issues = password_issues(password, member="password") if isinstance(password, str) else []
        try:
            body = validated(self.model, document)
        except InvalidPayload as invalid:
            raise InvalidAccount(invalid.issues + issues) from None
        if issues:
            raise InvalidAccount(issues)
        assert isinstance(body, UserUpdate)
        return body


@router.get("/check-token", summary="Check an access token", tags=["Authentication"], responses=errors(401, 403))
async def check_token(actor: CurrentUser) -> Done:
    """Answers 200 as long as the token opens routes."""
    return Done(message="Token is valid")


@router.get("/me", summary="The signed-in account", response_model=Me, responses=errors(401, 403, 404))
async def me(hub: CurrentHub, actor: CurrentUser) -> dict[str, Any]:
    """The account as the database has it now, with the actions it may do in each program."""
    async with hub.db.reading() as view:
        user = None if actor.user_id is None else await service.find_user(view, actor.user_id)
    if user is None:
        raise UserNotFound()
    return user.to_wire() | {"permissions": service.permissions_of(user.to_actor())}


@router.get("", summary="List accounts", response_model=list[UserOut], responses=errors(401, 403))
async def list_users(hub: CurrentHub, actor: CurrentAdmin) -> list[dict[str, Any]]:
    """All accounts, oldest first."""
    async with hub.db.reading() as view:
        return [user.to_wire() for user in await service.list_users(view)]


@router.post("", summary="Create an account", status_code=201, responses=errors(400, 401, 403, 409))
async def create_user(
    hub: CurrentHub, actor: CurrentAdmin, body: Annotated[UserCreate, Depends(_AccountBody(UserCreate))]
) -> Done:
    """E-mails are trimmed and compared without regard to case. All broken password rules are reported at once. An
    assignment makes the account a member of its program."""
    account = await _account(body)
    async with hub.db.transaction() as tx:
        await service.create_user(tx, account, now=hub.clock.now())
    return Done(message="User created successfully")


@router.put("/{id}", summary="Change an account", responses=errors(400, 401, 403, 404, 409))
async def update_user(
    hub: CurrentHub,
    actor: CurrentAdmin,
    user_id: Annotated[str, Path(alias="id", description="The account's id.")],
    body: Annotated[UserUpdate, Depends(_AccountBody(UserUpdate))],
) -> Done:
    """What is left out stays as it is, with one exception: the two lists are kept in step. `tenantIds` alone takes the
    roles in all other programs away; `roleAssignments` alone puts the account out of programs where it had a role and
    has none now. A new role takes effect at once; a new password ends all sessions."""
    key = _user_id(user_id)
    account = await _account(body)
    async with hub.db.transaction() as tx:
        await service.update_user(tx, key, account, now=hub.clock.now())
    hub.auth.forget(key)
    return Done(message="User updated successfully")


@router.delete("/{idOrEmail}", summary="Delete an account", responses=errors(401, 403, 404, 409))
async def delete_user(
    hub: CurrentHub,
    actor: CurrentAdmin,
    key: Annotated[str, Path(alias="idOrEmail", description="The account's id or e-mail.")],
) -> Done:
    """Its tokens stop working at once."""
    async with hub.db.transaction() as tx:
        deleted = await service.delete_user(tx, key)
    hub.auth.forget(deleted)
    return Done(message="User deleted successfully")


async def _account(body: UserUpdate) -> service.Account:
    """The body as an account to store; hashing happens before any transaction is open."""
    assignments = body.role_assignments
    return service.Account(
        email=body.email,
        role=body.role,
        password_hash=None if body.password is None else await service.hash_password(body.password),
        tenant_ids=body.tenant_ids,
        role_assignments=None
        if assignments is None
        else [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in assignments],
    )


def _user_id(text: str) -> UserId:
    """The number the text begins with: `12abc` is 12, as the reference reads it."""
    digits = re.match(r"\d+", text, re.ASCII)
    if digits is None:
        raise InvalidUserId()
    if len(digits[0]) > 9:
        raise UserNotFound()
    return UserId(int(digits[0]))
