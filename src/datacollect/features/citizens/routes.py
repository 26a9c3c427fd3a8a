"""Citizens signing in and out. Source: the contract's self-service area, 1 to 3.

In this order: the limit of the caller's address, the body, whether the program lets citizens in that way, and the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import structlog
from fastapi import APIRouter, Depends, Header

from datacollect.db import Tx
from datacollect.features.auth import attempts
from datacollect.features.auth.attempts import Counted
from datacollect.features.citizens import codes, holders, identities, service, vouching
from datacollect.features.citizens.codes import Asked, CodeSent, Limits
from datacollect.features.citizens.errors import (
    CodesNotRedeemed,
    DiscoveryFailed,
    DiscoveryTooSlow,
    OidcNotConfigured,
    ProviderMisconfigured,
    TooManyCodes,
    TooManyVerifications,
    WrongRedirect,
)
from datacollect.features.citizens.journal import Journal
from datacollect.features.citizens.model import REQUEST_BUCKET
from datacollect.features.citizens.schemas import (
    CitizenSignedIn,
    CitizenSignedOut,
    IdVerification,
    Nonce,
    NonceRequest,
    OidcExchange,
    OtpRequest,
    OtpSent,
    OtpVerification,
)
from datacollect.features.entities.finding.holding import Registers
from datacollect.features.messages.service import best_language
from datacollect.features.security_log import service as security_log
from datacollect.features.security_log.service import SecurityAction
from datacollect.features.tenants import asked as tenants
from datacollect.http.body import json_body
from datacollect.http.current import CurrentHub
from datacollect.http.hub import Hub
from datacollect.http.openapi import errors
from datacollect.http.policy import PUBLIC, CurrentCitizen
from datacollect.http.source import CurrentSource
from datacollect.kernel.client_assertions import ClientKey
from datacollect.kernel.errors import DataCollectError, InvalidPayload, TooManyRequests
from datacollect.kernel.identity import CITIZEN_PREFIX, TenantScope, system_scope
from datacollect.kernel.ids import TenantId, is_config_id
from datacollect.kernel.oidc import Code
from datacollect.kernel.sealing import CannotOpen
from datacollect.kernel.source import Source
from datacollect.kernel.tenancy import OidcRules, SignIn, Tenant

_T = TypeVar("_T")

_log = structlog.get_logger(component="citizens")

router = APIRouter(prefix="/api/auth", tags=["Self-Service"])

_INVALID = "Invalid request"
_AWAY = {
    502: "The program's identity provider cannot be reached, or what it says of itself cannot be used.",
    504: "The program's identity provider did not answer in time.",
}


async def _counted(
    hub: Hub, source: Source, bucket: str, *, limit: int, refused: type[TooManyRequests]
) -> Sequence[Counted]:
    """One more request of an address, before its body is read."""
    quotas, now = attempts.address_quotas(bucket, source.origin, limit=limit), hub.clock.now()
    for quota in quotas:
        hub.throttle.check(quota.key)
    async with hub.db.transaction() as tx:
        counted = await attempts.spare_site(tx, await attempts.count_attempt(tx, *quotas, now=now))
        if any(one.is_first_refusal for one in counted):
            told = {"limit": "address", "bucket": bucket}
            await security_log.record(tx, SecurityAction.CITIZEN_THROTTLED, source=source, now=now, details=told)
        await security_log.forget_expired(tx, days=hub.settings.security_log_days, now=now)
    if refusals := [hub.throttle.refuse(one, refused) for one in counted if one.allowance.exceeded]:
        raise refusals[0]
    return counted


async def _count_request(hub: CurrentHub, source: CurrentSource) -> Sequence[Counted]:
    limit = hub.settings.otp_request_rate_limit
    return await _counted(hub, source, REQUEST_BUCKET, limit=limit, refused=TooManyCodes)


async def _count_verification(hub: CurrentHub, source: CurrentSource) -> Sequence[Counted]:
    limit = hub.settings.otp_verify_rate_limit
    return await _counted(hub, source, "citizen-verify", limit=limit, refused=TooManyVerifications)


Requested = Annotated[Sequence[Counted], Depends(_count_request)]
Verified = Annotated[Sequence[Counted], Depends(_count_verification)]


async def _open(hub: Hub, tenant_id: str, method: SignIn) -> tuple[Tenant, TenantScope]:
    """A program that lets citizens in that way. Raises `SelfServiceDisabled`."""
    tenant = await hub.tenants.find(TenantId(tenant_id)) if is_config_id(tenant_id) else None
    service.rules_of(tenant, method)
    assert tenant is not None
    structlog.contextvars.bind_contextvars(tenant_id=tenant.id)
    # Nobody is signed in yet: it is the hub that looks for whose record it is.
    return tenant, system_scope(tenant.id)


def _limits(hub: Hub) -> Limits:
    settings = hub.settings
    return Limits(
        settings.otp_request_rate_limit, settings.otp_program_request_limit, settings.otp_program_verify_limit
    )


def _registers(hub: Hub) -> Registers:
    return Registers(hub.db, hub.settings.search_seconds, hub.turns)


def _journal(hub: Hub, tx: Tx, scope: TenantScope, source: Source, method: SignIn) -> Journal:
    return Journal(tx, scope, source, method.value, hub.clock.now(), hub.settings.token_secrets[0])


@router.post(
    "/otp/request",
    summary="Ask for a code",
    responses=errors(400, 403, 429),
    dependencies=[PUBLIC],
)
async def request_otp(
    hub: CurrentHub,
    source: CurrentSource,
    counted: Requested,
    body: Annotated[OtpRequest, json_body(OtpRequest, message=_INVALID)],
    accept_language: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> OtpSent:
    """Sends a code of six digits to the phone number or e-mail that a record has, and answers the same if none has it.

    A code is good for five minutes and once. Asking again within a minute sends none, and the last one stays good; each
    identifier gets five in 15 minutes."""
    tenant, scope = await _open(hub, body.tenant_id, SignIn.OTP)
    asked = Asked(body.identifier, source, best_language(tenant, accept_language))
    async with hub.db.reading(scope) as view:
        await codes.require_unlocked(view, scope, hub.peppers, asked, guesses=False, now=hub.clock.now())
    holder = await holders.by_identifier(_registers(hub), scope, body.identifier)
    async with hub.db.transaction(scope) as tx:
        outcome = await codes.send_code(
            tx,
            scope,
            hub.peppers,
            hub.messages,
            tenant,
            asked,
            holder,
            resend_seconds=hub.settings.otp_resend_seconds,
            limits=_limits(hub),
            now=hub.clock.now(),
        )
    sent: CodeSent = _succeeded(outcome)
    _log.info("citizen.code_requested")
    shown = sent.code if hub.settings.otp_expose_dev_code else None
    return OtpSent(expires_in=sent.expires_in, resend_in=sent.resend_in, dev_code=shown)


@router.post("/otp/verify", summary="Sign in with a code", responses=errors(400, 401, 403, 429), dependencies=[PUBLIC])
async def verify_otp(
    hub: CurrentHub,
    source: CurrentSource,
    counted: Verified,
    body: Annotated[OtpVerification, json_body(OtpVerification, message=_INVALID)],
) -> CitizenSignedIn:
    """Whatever is wrong, the answer is the same. A code stands three wrong tries. After ten in a row of an identifier's codes
    it is locked for 15 minutes, then for longer; not for who has signed in from the same address before."""
    _, scope = await _open(hub, body.tenant_id, SignIn.OTP)
    asked = Asked(body.identifier, source)
    async with hub.db.reading(scope) as view:
        await codes.require_unlocked(view, scope, hub.peppers, asked, guesses=True, now=hub.clock.now())
    holder = await holders.by_identifier(_registers(hub), scope, body.identifier)
    async with hub.db.transaction(scope) as tx:
        outcome = await codes.sign_in(
            tx,
            scope,
            hub.peppers,
            hub.tokens,
            asked,
            body.otp,
            holder,
            limits=_limits(hub),
            throttle=hub.throttle,
            journal=_journal(hub, tx, scope, source, SignIn.OTP),
            now=hub.clock.now(),
        )
        await _give_back(hub, tx, outcome, counted)
    return _signed_in(outcome, body.identifier, SignIn.OTP)


@router.post(
    "/id/verify",
    summary="Sign in with a national ID",
    responses=errors(400, 401, 403, 429),
    dependencies=[PUBLIC],
)
async def verify_national_id(
    hub: CurrentHub,
    source: CurrentSource,
    counted: Verified,
    body: Annotated[IdVerification, json_body(IdVerification, message=_INVALID)],
) -> CitizenSignedIn:
    """For programs that think it enough to know both. After five wrong tries in a row a national ID is locked for 15
    minutes, then for longer, whether or not anybody has it."""
    _, scope = await _open(hub, body.tenant_id, SignIn.ID)
    async with hub.db.reading(scope) as view:
        await identities.require_unlocked(
            view, scope, hub.peppers, body.national_id, source=source, now=hub.clock.now()
        )
    holder = await holders.by_national_id(_registers(hub), scope, body.national_id, body.date_of_birth)
    async with hub.db.transaction(scope) as tx:
        outcome = await identities.sign_in(
            tx,
            scope,
            hub.peppers,
            hub.tokens,
            body.national_id,
            holder,
            source=source,
            journal=_journal(hub, tx, scope, source, SignIn.ID),
            now=hub.clock.now(),
        )
        await _give_back(hub, tx, outcome, counted)
    return _signed_in(outcome, holder.guid if holder else "", SignIn.ID)


@router.post("/oidc/nonce", summary="Begin a sign-in by a provider", responses=errors(400, 403), dependencies=[PUBLIC])
async def make_oidc_nonce(
    hub: CurrentHub, body: Annotated[NonceRequest, json_body(NonceRequest, message=_INVALID)]
) -> Nonce:
    """A nonce to send to the program's identity provider, so that the ID token it makes is good for this sign-in only."""
    tenant, _ = await _open(hub, body.tenant_id, SignIn.OIDC)
    _oidc_of(tenant)
    nonce = vouching.new_nonce(hub.peppers, tenant.id, now=hub.clock.now())
    return Nonce(nonce=nonce, expires_in=vouching.NONCE_SECONDS)


@router.post(
    "/oidc/exchange",
    summary="Sign in by a provider",
    responses=errors(400, 401, 403, 429, texts=_AWAY),
    dependencies=[PUBLIC],
)
async def exchange_id_token(
    hub: CurrentHub,
    source: CurrentSource,
    counted: Requested,
    body: Annotated[OidcExchange, json_body(OidcExchange, message=_INVALID)],
) -> CitizenSignedIn:
    """Exchange an ID token of the program's identity provider, once and within ten minutes of its making, or a code that the
    hub redeems for one. `entityMapping` says by which claim a record is found; exactly one must have it."""
    if issues := list(body.issues()):
        raise InvalidPayload(issues, _INVALID)
    tenant, scope = await _open(hub, body.tenant_id, SignIn.OIDC)
    rules = _oidc_of(tenant)
    nonce = vouching.our_nonce(hub.peppers, tenant.id, rules, body.nonce, now=hub.clock.now())
    try:
        id_token, claims = await _vouched(hub, tenant, rules, body)
    except (DiscoveryFailed, DiscoveryTooSlow):
        if body.code is None:
            # Nobody has looked at the token: that was no failure of theirs. For codes the provider is asked each time.
            async with hub.db.transaction() as tx:
                await hub.throttle.give_back(tx, counted)
        raise
    factors = service.rules_of(tenant).indexed_factors
    holder = await holders.by_claims(_registers(hub), scope, rules, claims, factors=factors)
    async with hub.db.transaction(scope) as tx:
        outcome = await vouching.sign_in(
            tx,
            scope,
            hub.peppers,
            hub.tokens,
            id_token,
            nonce,
            holder,
            journal=_journal(hub, tx, scope, source, SignIn.OIDC),
            now=hub.clock.now(),
        )
        await _give_back(hub, tx, outcome, counted)
    return _signed_in(outcome, holder.guid if holder else "", SignIn.OIDC)


async def _vouched(hub: Hub, tenant: Tenant, rules: OidcRules, body: OidcExchange) -> tuple[str, Mapping[str, Any]]:
    """The ID token, which has been verified, and what the provider says of its subject."""
    providers, https_only = hub.providers, hub.settings.providers_need_https
    if body.id_token is not None:
        id_token, access_token = body.id_token, body.access_token
        claims = await vouching.verified_claims(providers, rules, id_token, nonce=body.nonce, https_only=https_only)
    else:
        got = await vouching.redeemed(
            providers, rules, _code_of(rules, body), await _key_of(hub, tenant), https_only=https_only
        )
        id_token, access_token = got.id_token, got.access_token
        claims = await vouching.claims_of_redeemed(providers, rules, id_token, nonce=body.nonce, https_only=https_only)
    return id_token, await vouching.told_claims(providers, rules, claims, access_token, https_only=https_only)


def _code_of(rules: OidcRules, body: OidcExchange) -> Code:
    if body.redirect_uri != rules.redirect_uri:
        raise WrongRedirect()
    return Code(body.code or "", rules.redirect_uri, body.code_verifier)


async def _key_of(hub: Hub, tenant: Tenant) -> ClientKey:
    try:
        async with hub.db.reading() as view:
            key = await tenants.oidc_key(view, tenant.id, seals=hub.seals)
    except CannotOpen:
        _log.warning("citizen.key_locked")
        raise ProviderMisconfigured() from None
    if key is None:
        raise CodesNotRedeemed()
    return key


def _oidc_of(tenant: Tenant) -> OidcRules:
    rules = service.rules_of(tenant).oidc
    if rules is None:
        raise OidcNotConfigured()
    return rules


async def _give_back(hub: Hub, tx: Tx, outcome: str | DataCollectError, counted: Sequence[Counted]) -> None:
    """A sign-in that succeeds does not count: many people may share one address."""
    if isinstance(outcome, str):
        await hub.throttle.give_back(tx, counted)


def _succeeded(outcome: _T | DataCollectError) -> _T:
    """Raised only now, behind the commit."""
    if isinstance(outcome, DataCollectError):
        raise outcome
    return outcome


def _signed_in(outcome: str | DataCollectError, identifier: str, method: SignIn) -> CitizenSignedIn:
    token = _succeeded(outcome)
    _log.info("citizen.signed_in", by=method.value)
    return CitizenSignedIn(username=f"{CITIZEN_PREFIX}{identifier}", token=token)


@router.post("/self-service/logout", summary="Sign out", responses=errors(401, 403))
async def sign_citizen_out(hub: CurrentHub, own: CurrentCitizen, source: CurrentSource) -> CitizenSignedOut:
    """Ends the sign-in the token belongs to: the token opens nothing any more."""
    scope = own.about(own.entity_guid)
    async with hub.db.transaction(scope) as tx:
        if await service.sign_out(tx, scope, own.citizen, now=hub.clock.now()):
            await Journal(tx, scope, source, "token", hub.clock.now()).signed_out(own.entity_guid)
    _log.info("citizen.signed_out")
    return CitizenSignedOut(message="Signed out")
