"""Signing in by an identity provider. Source: the contract's self-service area, 3.4; its weak points R9 to R11.

Apps bring an ID token, or a code that the hub redeems as a client with a key of its own. An ID token signs somebody in once, within ten minutes of its making. With a nonce of the hub's, which is good for as long
and once as well, nobody can use a token that was made for another sign-in.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import structlog

from datacollect.db import Tx
from datacollect.features.auth import attempts
from datacollect.features.citizens.errors import (
    AccessTokenMissing,
    AuthenticationFailed,
    DiscoveryFailed,
    DiscoveryTooSlow,
    ForeignIssuer,
    IdTokenFormat,
    IdTokenPayload,
    IdTokenRefused,
    IdTokenWithoutIssuer,
    IdTokenWithoutSubject,
    ProviderMisconfigured,
    WrongNonce,
)
from datacollect.features.citizens.journal import Journal
from datacollect.features.citizens.model import Holder
from datacollect.features.citizens.service import begin_session, require_program
from datacollect.features.providers.errors import Fault, ProviderUnavailable
from datacollect.http.hub import IdentityProviders
from datacollect.kernel.client_assertions import ClientKey
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import DataCollectError, InvalidRequest
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.oidc import Code, Provider, Redeemed, TokenRefused, address_problem, same_issuer
from datacollect.kernel.peppers import Peppers
from datacollect.kernel.tenancy import OidcRules, SignIn
from datacollect.kernel.tokens import Tokens

_log = structlog.get_logger(component="citizens")

NONCE_SECONDS = 600
_NONCE = "dch1"
_FAULTS: Mapping[Fault, type[DataCollectError]] = {
    Fault.AWAY: DiscoveryFailed,
    Fault.SLOW: DiscoveryTooSlow,
    Fault.WRONG: ProviderMisconfigured,
}


def new_nonce(peppers: Peppers, tenant_id: TenantId, *, now: Millis) -> str:
    """For one sign-in at the provider. Nothing is stored: the hub knows its own again."""
    told = f"{_NONCE}.{now + NONCE_SECONDS * 1000}.{secrets.token_urlsafe(16)}"
    return f"{told}.{_seal(peppers, tenant_id, told)}"


def is_our_nonce(peppers: Peppers, tenant_id: TenantId, nonce: str, *, now: Millis) -> bool:
    """Whether the hub has made it. Raises `WrongNonce` if it only looks so, or was made too long ago."""
    if not nonce.startswith(f"{_NONCE}."):
        return False
    told, _, seal = nonce.rpartition(".")
    expires_at = told.split(".")[1] if told.count(".") == 2 else ""
    if not hmac.compare_digest(seal.encode(), _seal(peppers, tenant_id, told).encode()) or int(expires_at) <= now:
        raise WrongNonce()
    return True


def our_nonce(peppers: Peppers, tenant_id: TenantId, rules: OidcRules, nonce: str | None, *, now: Millis) -> str | None:
    """The nonce, if the hub has made it. Raises `WrongNonce` where the program wants one of the hub's, and for one that
    only looks so."""
    if nonce is not None and is_our_nonce(peppers, tenant_id, nonce, now=now):
        return nonce
    if rules.require_nonce:
        raise WrongNonce()
    return None


def _seal(peppers: Peppers, tenant_id: TenantId, told: str) -> str:
    return base64.urlsafe_b64encode(peppers.hash("citizens-nonce", tenant_id, told)[:16]).decode().rstrip("=")


async def verified_claims(
    providers: IdentityProviders, rules: OidcRules, id_token: str, *, nonce: str | None, https_only: bool
) -> Mapping[str, Any]:
    """What the program's provider says of whoever has signed in there. Raises what the contract has for each fault."""
    claims = _read(id_token)
    if not claims.get("iss") or not isinstance(claims["iss"], str):
        raise IdTokenWithoutIssuer()
    # Before anybody is asked: whoever sends tokens does not choose whom the hub calls.
    if not same_issuer(claims["iss"], rules.authority):
        raise ForeignIssuer()
    provider = _provider(rules, https_only=https_only)
    with _faults_told():
        try:
            return await providers.citizen(provider, id_token, nonce=nonce)
        except TokenRefused as refused:
            if str(refused) != "nonce" and not claims.get("sub"):
                raise IdTokenWithoutSubject() from None
            raise


async def redeemed(
    providers: IdentityProviders, rules: OidcRules, code: Code, key: ClientKey, *, https_only: bool
) -> Redeemed:
    """What the program's provider gives for a code. Raises as `verified_claims`."""
    with _faults_told():
        got = await providers.redeem(_provider(rules, https_only=https_only), code, key)
    if rules.userinfo and got.access_token is None:
        _log.warning("citizen.access_token_missing")
        raise ProviderMisconfigured()
    return got


async def claims_of_redeemed(
    providers: IdentityProviders, rules: OidcRules, id_token: str, *, nonce: str | None, https_only: bool
) -> Mapping[str, Any]:
    """As `verified_claims`, of a token that the provider itself has sent: its form is nothing the app can mend."""
    try:
        return await verified_claims(providers, rules, id_token, nonce=nonce, https_only=https_only)
    except InvalidRequest as odd:
        _log.info("citizen.id_token_refused", reason=odd.code)
        raise IdTokenRefused() from None


async def told_claims(
    providers: IdentityProviders,
    rules: OidcRules,
    claims: Mapping[str, Any],
    access_token: str | None,
    *,
    https_only: bool,
) -> Mapping[str, Any]:
    """What a record is found by: the claims of an ID token that has been verified, or what userinfo says of its subject."""
    if not rules.userinfo:
        return claims
    if access_token is None:
        raise AccessTokenMissing()
    with _faults_told():
        provider = _provider(rules, https_only=https_only)
        return await providers.told_of(provider, access_token, subject=str(claims["sub"]))


def _provider(rules: OidcRules, *, https_only: bool) -> Provider:
    authority = rules.authority.rstrip("/")
    if address_problem(authority, https_only=https_only):
        raise ProviderMisconfigured()
    return Provider("oidc", authority, authority, client_id=rules.client_id)


@contextlib.contextmanager
def _faults_told() -> Iterator[None]:
    """What goes wrong with a provider, as the contract tells it."""
    try:
        yield
    except ProviderUnavailable as unavailable:
        raise _FAULTS[unavailable.fault](headers=unavailable.headers) from None
    except TokenRefused as refused:
        _log.info("citizen.id_token_refused", reason=str(refused))
        raise (WrongNonce() if str(refused) == "nonce" else IdTokenRefused()) from None


def _read(id_token: str) -> Mapping[str, Any]:
    parts = id_token.split(".")
    if len(parts) != 3:
        raise IdTokenFormat()
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
        raise IdTokenPayload() from None
    if not isinstance(claims, dict):
        raise IdTokenPayload()
    return claims


async def sign_in(
    tx: Tx,
    scope: TenantScope,
    peppers: Peppers,
    tokens: Tokens,
    id_token: str,
    nonce: str | None,
    holder: Holder | None,
    *,
    journal: Journal,
    now: Millis,
) -> str | DataCollectError:
    """A citizen's token for an ID token that has been verified, and was not used before.

    `nonce` is the hub's, if it is one of them. A refusal is returned: that the token is used up is to be kept.
    """
    await require_program(tx, scope)
    # Without the signature: with ES256 a second one can be computed from the first, and is as good.
    used: dict[str, type[DataCollectError]] = {f"id-token:{_digest(id_token.rpartition('.')[0])}": IdTokenRefused}
    if nonce is not None:
        used[f"oidc-nonce:{_digest(nonce)}"] = WrongNonce
    # Longer remembered than ID tokens and nonces are good for.
    quotas = [attempts.Quota(key, 1) for key in used]
    for counted in await attempts.count_attempt(tx, *quotas, now=now):
        if counted.allowance.exceeded:
            return used[counted.quota.key]()
    if holder is None:
        await journal.refused(id_token, locks=False)
        return AuthenticationFailed()
    await journal.signed_in(holder.guid)
    return await begin_session(tx, scope, tokens, peppers, holder, method=SignIn.OIDC, identifier=holder.guid, now=now)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
