"""`/api/users`: accounts, for administrators and for oneself."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from datacollect.features.users import service
from datacollect.features.users.errors import InvalidUserId, UserNotFound, WrongPassword
from datacollect.features.users.schemas import Done, Me, PasswordChange, UserCreate, UserOut, UserUpdate
from datacollect.http.body import json_body
from datacollect.http.hub import CurrentAdmin, CurrentHub, CurrentUser, Hub
from datacollect.http.openapi import errors
from datacollect.kernel.identity import Actor
from datacollect.kernel.ids import UserId

router = APIRouter(prefix="/api/users", tags=["User Management"])


@router.get("/check-token", summary="Check an access token", tags=["Authentication"], responses=errors(401, 403))
async def check_token(actor: CurrentUser) -> Done:
    """Answers 200 as long as the token opens routes."""
    return Done(message="Token is valid")


@router.get("/me", summary="The signed-in account", response_model=Me, responses=errors(401, 403, 404))
async def me(hub: CurrentHub, actor: CurrentUser) -> dict[str, Any]:
    """The account as the database has it now, with the actions it may do in each program."""
    user = await _myself(hub, actor)
    return user.to_wire() | {"permissions": service.permissions_of(user.to_actor())}


@router.post("/me/password", summary="Change one's own password", responses=errors(400, 401, 403, 409))
async def change_password(
    hub: CurrentHub, actor: CurrentUser, body: Annotated[PasswordChange, json_body(PasswordChange)]
) -> Done:
    """Ends every session of the account, this one too: sign in again with the new password."""
    user = await _myself(hub, actor)
    if not await service.is_right_password(user, body.current_password):
        raise WrongPassword()
    password_hash = await service.hash_password(body.new_password)
    async with hub.db.transaction() as tx:
        await service.change_own_password(tx, user, password_hash=password_hash, now=hub.clock.now())
    hub.auth.forget(user.id)
    return Done(message="Password changed successfully")


@router.get("", summary="List accounts", response_model=list[UserOut], responses=errors(401, 403))
async def list_users(hub: CurrentHub, actor: CurrentAdmin) -> list[dict[str, Any]]:
    """All accounts, oldest first."""
    async with hub.db.reading() as view:
        return [user.to_wire() for user in await service.list_users(view)]


@router.post("", summary="Create an account", status_code=201, responses=errors(400, 401, 403, 409))
async def create_user(hub: CurrentHub, actor: CurrentAdmin, body: Annotated[UserCreate, json_body(UserCreate)]) -> Done:
    """E-mails are trimmed and compared without regard to case. All broken password rules are reported at once."""
    account = await _account(body)
    async with hub.db.transaction() as tx:
        await service.create_user(tx, account, now=hub.clock.now())
    return Done(message="User created successfully")


@router.put("/{id}", summary="Change an account", responses=errors(400, 401, 403, 404, 409))
async def update_user(
    hub: CurrentHub,
    actor: CurrentAdmin,
    user_id: Annotated[str, Path(alias="id", description="The account's id.")],
    body: Annotated[UserUpdate, json_body(UserUpdate)],
) -> Done:
    """What is left out stays as it is. A new role takes effect at once; a new password ends all sessions."""
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


async def _myself(hub: Hub, actor: Actor) -> service.User:
    async with hub.db.reading() as view:
        user = None if actor.user_id is None else await service.find_user(view, actor.user_id)
    if user is None:
        raise UserNotFound()
    return user


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
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidUserId()
    return UserId(int(text))
