"""Signing in, refreshing, signing out: `/api/users/login`, `/refresh`, `/logout`."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from datacollect.features.auth import service
from datacollect.features.auth.errors import NotARefreshToken, NoToken, RefreshTokenInvalid, WrongCredentials
from datacollect.features.auth.schemas import LoginRequest, LogoutRequest, RefreshRequest, SignedIn, SignedOut
from datacollect.features.auth.service import Allowance, TokenAuthenticator
from datacollect.features.users import service as users
from datacollect.http.body import JsonBody, json_body, read_body, strict_json
from datacollect.http.hub import CurrentHub, Hub
from datacollect.http.openapi import errors
from datacollect.kernel.errors import Unauthenticated
from datacollect.kernel.tokens import RefreshClaims, TokenInvalid

router = APIRouter(prefix="/api/users", tags=["Authentication"])


async def _count_login(request: Request, hub: CurrentHub) -> Allowance:
    address = request.client.host if request.client else "unknown"
    async with hub.db.transaction() as tx:
        allowance = await service.count_login(tx, address, limit=hub.settings.login_rate_limit, now=hub.clock.now())
    allowance.require()
    return allowance


def _authenticator(hub: CurrentHub) -> TokenAuthenticator:
    assert isinstance(hub.auth, TokenAuthenticator)
    return hub.auth


Guard = Annotated[TokenAuthenticator, Depends(_authenticator)]
LoginAllowance = Annotated[Allowance, Depends(_count_login)]


class _Credentials(JsonBody):
    """What is missing or no text counts as wrong: the contract answers 401 for it, never 400."""

    async def __call__(self, request: Request) -> LoginRequest:
        body = strict_json(await read_body(request))
        email, password = (body.get("email"), body.get("password")) if isinstance(body, dict) else (None, None)
        if not isinstance(email, str) or not isinstance(password, str):
            return LoginRequest(email="", password="")
        return LoginRequest(email=email, password=password)


class _OptionalBody(JsonBody):
    """The admin UI refreshes without a body."""

    required = False

    async def __call__(self, request: Request) -> RefreshRequest:
        body = await read_body(request)
        document: Any = strict_json(body) if body.strip() else {}
        token = document.get("refreshToken") if isinstance(document, dict) else None
        return RefreshRequest(refresh_token=token if isinstance(token, str) else None)


@router.post("/login", summary="Sign in", responses={200: {"model": SignedIn}, **errors(400, 401, 429)})
async def login(
    hub: CurrentHub,
    guard: Guard,
    allowance: LoginAllowance,
    body: Annotated[LoginRequest, Depends(_Credentials(LoginRequest))],
) -> Response:
    """An access token for one hour and a refresh token for 30 days. The answer does not tell whether the account
    exists, nor does the time it takes."""
    async with hub.db.reading() as view:
        user = await users.find_user_by_email(view, body.email)
    if not await users.is_right_password(user, body.password) or user is None:
        raise WrongCredentials(headers=allowance.headers())
    async with hub.db.transaction() as tx:
        await users.replace_password_hash(tx, user, body.password, now=hub.clock.now())
        pair = await service.sign_in(tx, guard.tokens, user, now=hub.clock.now())
    return _signed_in(pair.token, pair.refresh_token, pair.user_id, headers=allowance.headers())


@router.post("/refresh", summary="Renew tokens", responses={200: {"model": SignedIn}, **errors(400, 401)})
async def refresh(
    request: Request,
    hub: CurrentHub,
    guard: Guard,
    body: Annotated[RefreshRequest, Depends(_OptionalBody(RefreshRequest))],
) -> Response:
    """Exchange a refresh token for a new pair. Each one can be used once; for a minute the same exchange may be
    repeated, for clients that lost the answer. An older token coming back ends the whole family.

    Without a refresh token, a valid access token in the header is exchanged for a new access token only.
    """
    if body.refresh_token is None:
        if not request.headers.get("authorization"):
            raise NoToken()
        token, user_id = await guard.renewed_access(request.headers["authorization"])
        return _signed_in(token, None, user_id)
    claims = _refresh_claims(guard, body.refresh_token)
    async with hub.db.transaction() as tx:
        outcome = await service.refresh(tx, guard.tokens, claims, secret=_secret(hub), now=hub.clock.now())
    if isinstance(outcome, Unauthenticated):
        raise outcome
    return _signed_in(outcome.token, outcome.refresh_token, outcome.user_id)


@router.post("/logout", summary="Sign out", responses=errors(400, 401))
async def logout(hub: CurrentHub, guard: Guard, body: Annotated[LogoutRequest, json_body(LogoutRequest)]) -> SignedOut:
    """Ends the sign-in the refresh token belongs to. The access token runs out within the hour."""
    claims = _refresh_claims(guard, body.refresh_token)
    async with hub.db.transaction() as tx:
        await service.sign_out(tx, claims, now=hub.clock.now())
    return SignedOut(message="Signed out")


def _refresh_claims(guard: TokenAuthenticator, token: str) -> RefreshClaims:
    try:
        claims = guard.tokens.read_refresh(token)
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
