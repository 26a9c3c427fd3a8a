"""Signing in and staying so: `/api/users/login`, `/refresh`, `/logout`, `/me/password`."""

from typing import Annotated, Any

import msgspec
import structlog
from fastapi import APIRouter, Depends, Request, Response

from datacollect.features.auth import service
from datacollect.features.auth.errors import (
    NotARefreshToken,
    NoToken,
    RefreshTokenInvalid,
    TooManyGuesses,
    TooManyLogins,
    TooManyRefreshes,
    UserGone,
    WrongCredentials,
)
from datacollect.features.auth.model import Allowance, origin_of
from datacollect.features.auth.schemas import (
    Done,
    LoginRequest,
    LogoutRequest,
    PasswordChange,
    RefreshRequest,
    Renewed,
    SignedIn,
)
from datacollect.features.users import service as users
from datacollect.http.body import JsonBody, json_body, read_body, strict_json, validated
from datacollect.http.hub import CurrentHub, Hub
from datacollect.http.openapi import errors
from datacollect.http.policy import PUBLIC, CurrentUser
from datacollect.kernel.errors import DataCollectError
from datacollect.kernel.tokens import RefreshClaims, TokenInvalid

_log = structlog.get_logger(component="auth")

router = APIRouter(prefix="/api/users", tags=["Authentication"])

_REFRESHES_PER_LOGIN = 4
"""A device refreshes hourly; a user may have several, and a user's limit of refreshes is this many times that of
logins."""

_USERS_PER_ADDRESS = 10
"""A field office refreshes from one address."""


async def _count(hub: Hub, key: str, limit: int) -> Allowance:
    async with hub.db.transaction() as tx:
        return await service.count_attempt(tx, key, limit=limit, now=hub.clock.now())


def _origin(request: Request) -> str:
    return origin_of(request.client.host) if request.client else "unknown"


async def _count_login(request: Request, hub: CurrentHub) -> Allowance:
    allowance = await _count(hub, f"login:ip:{_origin(request)}", hub.settings.login_rate_limit)
    if allowance.exceeded:
        raise TooManyLogins(headers=allowance.headers())
    return allowance


async def _count_refresh(request: Request, hub: CurrentHub) -> None:
    allowance = await _count(hub, f"refresh:ip:{_origin(request)}", _refresh_limit(hub) * _USERS_PER_ADDRESS)
    if allowance.exceeded:
        raise TooManyRefreshes(headers=allowance.headers())


async def _count_guess(hub: CurrentHub, actor: CurrentUser) -> None:
    allowance = await _count(hub, f"password:user:{actor.user_id}", hub.settings.login_rate_limit)
    if allowance.exceeded:
        raise TooManyGuesses(headers=allowance.headers())


def _refresh_limit(hub: Hub) -> int:
    return hub.settings.login_rate_limit * _REFRESHES_PER_LOGIN


LoginAllowance = Annotated[Allowance, Depends(_count_login)]


class _Credentials(JsonBody):
    """What is missing or no text counts as wrong: the contract answers 401 for it, never 400."""

    async def __call__(self, request: Request) -> LoginRequest:
        raw = await read_body(request)
        body = strict_json(raw) if raw.strip() else None
        email, password = (body.get("email"), body.get("password")) if isinstance(body, dict) else (None, None)
        if not isinstance(email, str) or not isinstance(password, str):
            return LoginRequest(email="", password="")
        return LoginRequest(email=email, password=password)


class _OptionalBody(JsonBody):
    """The admin UI refreshes without a body. A token that is no text is an invalid one, not a missing one."""

    required = False

    async def __call__(self, request: Request) -> RefreshRequest:
        body = await read_body(request)
        document: Any = strict_json(body) if body.strip() else {}
        token = document.get("refreshToken") if isinstance(document, dict) else None
        if not token:
            return RefreshRequest(refresh_token=None)
        return RefreshRequest(refresh_token=token if isinstance(token, str) else "not a text")


class _NewPasswordBody(JsonBody):
    async def __call__(self, request: Request) -> PasswordChange:
        body = validated(PasswordChange, strict_json(await read_body(request)))
        issues = users.password_issues(body.new_password, member="newPassword")
        if issues:
            raise users.InvalidAccount(issues)
        return body


@router.post(
    "/login",
    summary="Sign in",
    responses={200: {"model": SignedIn}, **errors(400, 401, 429)},
    dependencies=[PUBLIC],
)
async def login(
    hub: CurrentHub,
    allowance: LoginAllowance,
    body: Annotated[LoginRequest, Depends(_Credentials(LoginRequest))],
) -> Response:
    """An access token for one hour and a refresh token for 30 days. The answer does not tell whether the account
    exists, nor does the time it takes."""
    async with hub.db.reading() as view:
        user = await users.find_user_by_email(view, body.email)
    if not await users.is_right_password(user, body.password) or user is None:
        _log.info("auth.login_refused", user_id=user.id if user else None)
        raise WrongCredentials(headers=allowance.headers())
    modern_hash = await users.modern_hash(user, body.password)
    try:
        async with hub.db.transaction() as tx:
            if modern_hash is not None:
                await users.replace_password_hash(tx, user, modern_hash, now=hub.clock.now())
            pair = await service.sign_in(tx, hub.tokens, user, now=hub.clock.now())
    except UserGone:
        raise WrongCredentials(headers=allowance.headers()) from None
    _log.info("auth.signed_in", user_id=user.id)
    return _signed_in(pair.token, pair.refresh_token, pair.user_id, headers=allowance.headers())


@router.post(
    "/refresh",
    summary="Renew tokens",
    responses={200: {"model": Renewed}, **errors(400, 401, 429)},
    dependencies=[PUBLIC, Depends(_count_refresh)],
)
async def refresh(
    request: Request,
    hub: CurrentHub,
    body: Annotated[RefreshRequest, Depends(_OptionalBody(RefreshRequest))],
) -> Response:
    """Exchange a refresh token for a new pair. Each one can be used once; for a minute the same exchange may be
    repeated, for clients that lost the answer. An older token coming back ends the whole family.

    Without a refresh token, a valid access token in the header is exchanged for a new access token only.
    """
    limit = _refresh_limit(hub)
    if body.refresh_token is None:
        authorization = request.headers.get("authorization")
        if not authorization:
            raise NoToken()
        access = service.access_claims(hub.tokens, authorization)
        async with hub.db.transaction() as tx:
            outcome = await service.renew_access(tx, hub.tokens, access, limit=limit, now=hub.clock.now())
    else:
        claims = _refresh_claims(hub, body.refresh_token)
        async with hub.db.transaction() as tx:
            outcome = await service.refresh(
                tx, hub.tokens, claims, secret=_secret(hub), limit=limit, now=hub.clock.now()
            )
    if isinstance(outcome, DataCollectError):
        raise outcome
    return _signed_in(outcome.token, outcome.refresh_token, outcome.user_id)


@router.post("/logout", summary="Sign out", responses=errors(400, 401), dependencies=[PUBLIC])
async def logout(hub: CurrentHub, body: Annotated[LogoutRequest, json_body(LogoutRequest)]) -> Done:
    """Ends the sign-in the refresh token belongs to. The access token runs out within the hour and cannot be
    renewed."""
    claims = _refresh_claims(hub, body.refresh_token)
    async with hub.db.transaction() as tx:
        await service.sign_out(tx, claims, now=hub.clock.now())
    _log.info("auth.signed_out", user_id=claims.user_id)
    return Done(message="Signed out")


@router.post("/me/password", summary="Change one's own password", responses=errors(400, 401, 403, 409, 429))
async def change_password(
    hub: CurrentHub,
    actor: CurrentUser,
    allowed: Annotated[None, Depends(_count_guess)],
    body: Annotated[PasswordChange, Depends(_NewPasswordBody(PasswordChange))],
) -> Done:
    """Ends every session of the account, this one too: sign in again with the new password."""
    async with hub.db.reading() as view:
        user = None if actor.user_id is None else await users.find_user(view, actor.user_id)
    if user is None:
        raise UserGone()
    if not await users.is_right_password(user, body.current_password):
        raise users.WrongPassword()
    password_hash = await users.hash_password(body.new_password)
    async with hub.db.transaction() as tx:
        await users.change_own_password(tx, user, password_hash=password_hash, now=hub.clock.now())
    hub.auth.forget(user.id)
    _log.info("auth.password_changed", user_id=user.id)
    return Done(message="Password changed successfully")


def _refresh_claims(hub: Hub, token: str) -> RefreshClaims:
    try:
        claims = hub.tokens.read_refresh(token)
    except TokenInvalid:
        raise RefreshTokenInvalid() from None
    if claims is None:
        raise NotARefreshToken()
    return claims


def _secret(hub: Hub) -> bytes:
    secret = hub.settings.jwt_secret
    assert secret is not None
    return secret.get_secret_value().encode()


def _signed_in(token: str, refresh_token: str | None, user_id: int, **keywords: Any) -> Response:
    body: dict[str, Any] = {"token": token, "userId": user_id}
    if refresh_token is not None:
        body["refreshToken"] = refresh_token
    return Response(msgspec.json.encode(body), media_type="application/json", **keywords)
