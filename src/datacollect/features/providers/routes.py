"""Signing in by a provider of the operator's: `/api/users/login/provider` and `/api/users/login/providers`."""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends

from datacollect.features.auth import service as auth
from datacollect.features.auth.errors import UserGone
from datacollect.features.providers.errors import ProviderLoginRefused, ProviderUnavailable, TooManyProviderLogins
from datacollect.features.providers.schemas import LoginProviders, ProviderLogin, ProviderSignedIn
from datacollect.features.security_log import service as security_log
from datacollect.features.security_log.service import SecurityAction
from datacollect.features.users import service as users
from datacollect.http.body import json_body
from datacollect.http.current import CurrentHub
from datacollect.http.hub import Hub
from datacollect.http.openapi import errors
from datacollect.http.policy import PUBLIC
from datacollect.http.source import CurrentSource
from datacollect.kernel.source import Source

_log = structlog.get_logger(component="providers")

router = APIRouter(prefix="/api/users/login", tags=["Authentication"])

_AWAY = {503: (ProviderUnavailable.__doc__ or "").strip()}


async def _count_login(hub: CurrentHub, source: CurrentSource) -> Sequence[auth.Counted]:
    """Together with the logins by password: an address has one number of failures."""
    async with hub.db.transaction() as tx:
        counted = await auth.count_login(tx, source.origin, limit=hub.settings.login_rate_limit, now=hub.clock.now())
        if any(one.is_first_refusal for one in counted):
            await security_log.record(tx, SecurityAction.LOGIN_THROTTLED, source=source, now=hub.clock.now())
    for one in counted:
        if one.allowance.exceeded:
            raise TooManyProviderLogins(headers=one.allowance.headers())
    return counted


async def _note_refusal(hub: Hub, source: Source, provider: str) -> None:
    """Noted before it is answered. Of a name that is no provider's nothing is kept: it may be anything."""
    known = any(one.name == provider for one in hub.settings.staff_providers)
    told = {"by": provider if known else "an unknown provider"}
    async with hub.db.transaction() as tx:
        await security_log.record(tx, SecurityAction.LOGIN_FAILED, source=source, now=hub.clock.now(), details=told)


@router.get("/providers", summary="Ways to sign in", response_model=LoginProviders, dependencies=[PUBLIC])
async def list_login_providers(hub: CurrentHub) -> dict[str, Any]:
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
    source: CurrentSource,
    counted: Annotated[Sequence[auth.Counted], Depends(_count_login)],
    body: Annotated[ProviderLogin, json_body(ProviderLogin)],
) -> dict[str, Any]:
    """Exchange an ID token, once and within ten minutes of its making, for the same tokens as a login gives.

    The provider must have verified its e-mail, and an account here must have that address. Why else it was refused
    only the hub's log tells.
    """
    try:
        user_id = await hub.providers.staff(body.provider, body.token, nonce=body.nonce)
        async with hub.db.transaction() as tx:
            # Without the signature: with ES256 a second one can be computed from the first, and is as good.
            used = hashlib.sha256(body.token.rpartition(".")[0].encode()).hexdigest()
            # Longer remembered than ID tokens are good for.
            once = await auth.count_attempt(tx, f"id-token:{used}", limit=1, now=hub.clock.now())
            user = await users.find_user(tx, user_id)
            if once.exceeded:
                _log.info("provider.login_refused", provider=body.provider, reason="used before")
            if once.exceeded or user is None:
                raise ProviderLoginRefused()
            pair = await auth.sign_in(tx, hub.tokens, user, source=source, by=body.provider, now=hub.clock.now())
            await hub.throttle.give_back(tx, counted)
    except ProviderUnavailable:
        # Nobody has looked at the token: that was no failure of theirs.
        async with hub.db.transaction() as tx:
            await hub.throttle.give_back(tx, counted)
        raise
    except (ProviderLoginRefused, UserGone):
        await _note_refusal(hub, source, body.provider)
        raise ProviderLoginRefused() from None
    _log.info("auth.signed_in", user_id=user_id, provider=body.provider)
    return {"token": pair.token, "refreshToken": pair.refresh_token, "userId": pair.user_id}
