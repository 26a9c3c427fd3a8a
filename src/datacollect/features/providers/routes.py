"""Signing in by a provider of the operator's: `/api/users/login/provider` and `/api/users/login/providers`."""

import hashlib
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Request

from datacollect.features.auth import service as auth
from datacollect.features.auth.errors import UserGone
from datacollect.features.auth.model import Allowance, origin_of
from datacollect.features.providers.errors import ProviderLoginRefused, ProviderUnavailable, TooManyProviderLogins
from datacollect.features.providers.schemas import LoginProviders, ProviderLogin, ProviderSignedIn
from datacollect.features.users import service as users
from datacollect.http.body import json_body
from datacollect.http.hub import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import PUBLIC

_log = structlog.get_logger(component="providers")

router = APIRouter(prefix="/api/users/login", tags=["Authentication"])

_AWAY = {503: (ProviderUnavailable.__doc__ or "").strip()}


async def _count_login(request: Request, hub: CurrentHub) -> Allowance:
    """Together with the logins by password: an address has one number of attempts."""
    origin = origin_of(request.client.host) if request.client else "unknown"
    async with hub.db.transaction() as tx:
        allowance = await auth.count_attempt(
            tx, f"login:ip:{origin}", limit=hub.settings.login_rate_limit, now=hub.clock.now()
        )
    if allowance.exceeded:
        raise TooManyProviderLogins(headers=allowance.headers())
    return allowance


@router.get("/providers", summary="Ways to sign in", response_model=LoginProviders, dependencies=[PUBLIC])
async def list_providers(hub: CurrentHub) -> dict[str, Any]:
    """The identity providers by which staff can sign in, as the operator has set them; for the login page."""
    return {
        "providers": [
            {"name": one.name, "type": one.type, "authority": one.authority, "clientId": one.client_id}
            for one in hub.settings.staff_providers
        ]
    }


@router.post(
    "/provider",
    summary="Sign in by a provider",
    response_model=ProviderSignedIn,
    responses=errors(400, 401, 429, texts=_AWAY),
    dependencies=[PUBLIC],
)
async def login_by_provider(
    hub: CurrentHub,
    allowance: Annotated[Allowance, Depends(_count_login)],
    body: Annotated[ProviderLogin, json_body(ProviderLogin)],
) -> dict[str, Any]:
    """Exchange an ID token, once and within ten minutes of its making, for the same tokens as a login gives.

    The provider must have verified its e-mail, and an account here must have that address. Why else it was refused
    only the hub's log tells.
    """
    user_id = await hub.providers.staff(body.provider, body.token, nonce=body.nonce)
    try:
        async with hub.db.transaction() as tx:
            used = hashlib.sha256(body.token.encode()).hexdigest()
            # Longer remembered than ID tokens are good for.
            once = await auth.count_attempt(tx, f"id-token:{used}", limit=1, now=hub.clock.now())
            user = await users.find_user(tx, user_id)
            if once.exceeded or user is None:
                raise ProviderLoginRefused()
            pair = await auth.sign_in(tx, hub.tokens, user, now=hub.clock.now())
    except UserGone:
        raise ProviderLoginRefused() from None
    _log.info("auth.signed_in", user_id=user_id, provider=body.provider)
    return {"token": pair.token, "refreshToken": pair.refresh_token, "userId": pair.user_id}
