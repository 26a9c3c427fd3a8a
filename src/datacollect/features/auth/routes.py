"""Signing in and staying so: `/api/users/login`, `/refresh`, `/logout`, `/me/password`, and the sessions."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import structlog
from fastapi import APIRouter, Depends, Path, Request, Response

from datacollect.db import Reading, Tx
from datacollect.features.auth import attempts, service
from datacollect.features.auth.attempts import Counted, Quota
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
from datacollect.features.auth.model import LiveSession, session_id
from datacollect.features.auth.schemas import (
    Ended,
    LoginRequest,
    LogoutRequest,
    PasswordChange,
    RefreshRequest,
    Renewed,
    SessionOut,
    SessionReply,
    SignedIn,
)
from datacollect.features.security_log import service as security_log
from datacollect.features.security_log.service import SecurityAction
from datacollect.features.users import service as users
from datacollect.http.body import JsonBody, read_body
from datacollect.http.current import CurrentHub
from datacollect.http.decoding import strict_json, validated
from datacollect.http.hub import Hub
from datacollect.http.openapi import errors
from datacollect.http.policy import PUBLIC, AnyAccount, CurrentAdmin, CurrentUser
from datacollect.http.source import CurrentSource
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.errors import DataCollectError, TooManyRequests
from datacollect.kernel.identity import Actor
from datacollect.kernel.ids import UserId
from datacollect.kernel.source import Source
from datacollect.kernel.tokens import AccessClaims, RefreshClaims, TokenInvalid

_log = structlog.get_logger(component="auth")

router = APIRouter(prefix="/api/users", tags=["Authentication"])

MOST_LISTED = 200

_REFRESHES_PER_LOGIN = 4
"""A device refreshes hourly. The limit of a sign-in's refreshes is this many times that of logins."""

_USERS_PER_ADDRESS = 10
"""Apps of a field office, at one address, may come with tokens that have run out."""

_BUSY = {503: "The database cannot be reached, or too many sign-ins are waiting; `Retry-After` says when to come back."}


def _login_quotas(hub: Hub, source: Source) -> Sequence[Quota]:
    return attempts.login_quotas(source.origin, limit=hub.settings.login_rate_limit)


async def _refuse_flood(hub: CurrentHub, source: CurrentSource) -> None:
    """Before the body is read, and without asking the database."""
    for quota in _login_quotas(hub, source):
        hub.throttle.check(quota.key)
    hub.throttle.require_room()


async def _account_quota(view: Reading, hub: Hub, email: str, source: Source) -> Quota:
    return await attempts.account_quota(
        view,
        email,
        source.origin,
        secret=_secret(hub),
        limit=hub.settings.login_account_limit,
        now=hub.clock.now(),
    )


async def _count_login(hub: Hub, source: Source, account: Quota, told: dict[str, Any]) -> Sequence[Counted]:
    """Count an attempt before its password is looked at. Raises `TooManyLogins`. `told` names the account in the log."""
    now = hub.clock.now()
    async with hub.db.transaction() as tx:
        *of_address, of_account = await attempts.count_attempt(tx, *_login_quotas(hub, source), account, now=now)
        counted = [*await attempts.spare_site(tx, of_address), of_account]
        for one in counted:
            if one.is_first_refusal:
                action = SecurityAction.LOGIN_LOCKED if one is of_account else SecurityAction.LOGIN_THROTTLED
                await security_log.record(tx, action, source=source, now=now, **told)
        if of_account.allowance.exceeded and not any(one.allowance.exceeded for one in of_address):
            # No password is looked at: it is no failure of the others' at the address.
            await attempts.give_back(tx, of_address)
    exceeded = [one for one in counted if one.allowance.exceeded]
    refusals = [hub.throttle.refuse(one, TooManyLogins) for one in exceeded]
    if refusals:
        raise refusals[0]
    return counted


async def _count_unreadable(hub: Hub, source: Source) -> None:
    """Count a refresh with a token of nobody's for its address. Those with tokens of ours are counted for their sign-ins
    alone: strangers must not use up what devices at their address need hourly. Raises `TooManyRefreshes`."""
    quotas = attempts.address_quotas("refresh", source.origin, limit=_refresh_limit(hub) * _USERS_PER_ADDRESS)
    for quota in quotas:
        hub.throttle.check(quota.key)
    now = hub.clock.now()
    async with hub.db.transaction() as tx:
        counted = await attempts.spare_site(tx, await attempts.count_attempt(tx, *quotas, now=now))
        if any(one.is_first_refusal for one in counted):
            told = {"by": "address"}
            await security_log.record(tx, SecurityAction.REFRESH_THROTTLED, source=source, now=now, details=told)
    if refusals := [hub.throttle.refuse(one, TooManyRefreshes) for one in counted if one.allowance.exceeded]:
        raise refusals[0]


async def _count_refresh_of(
    tx: Tx, hub: Hub, claims: RefreshClaims | AccessClaims, source: Source
) -> TooManyRequests | None:
    """Count a refresh of one sign-in: one that has ended, or goes on asking, must not use up those of the account's others.

    The refusal is not raised here: that the sign-in was refused is to be kept.
    """
    now = hub.clock.now()
    [counted] = await attempts.count_attempt(tx, Quota(_refresh_key(claims), _refresh_limit(hub)), now=now)
    if not counted.allowance.exceeded:
        return None
    if counted.is_first_refusal:
        told = {"by": "session", "session": session_id(claims.family)}
        subject = UserId(claims.user_id)
        await security_log.record(
            tx, SecurityAction.REFRESH_THROTTLED, source=source, now=now, subject=subject, details=told
        )
    return hub.throttle.refuse(counted, TooManyRefreshes)


def _refresh_key(claims: RefreshClaims | AccessClaims) -> str:
    return f"refresh:session:{session_id(claims.family)}"


def _refresh_limit(hub: Hub) -> int:
    return hub.settings.login_rate_limit * _REFRESHES_PER_LOGIN


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
    """Clients that keep no refresh token, as the admin UI, send no body. A token that is no text is an invalid one, not a
    missing one."""

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
        # The others need the account.
        issues = users.password_issues(body.new_password, member="newPassword", strict=False)
        if issues:
            raise users.InvalidAccount(issues)
        return body


@router.post(
    "/login",
    summary="Sign in",
    responses={200: {"model": SignedIn}, **errors(400, 401, 429, texts=_BUSY)},
    dependencies=[PUBLIC, Depends(_refuse_flood)],
)
async def login(
    hub: CurrentHub,
    source: CurrentSource,
    body: Annotated[LoginRequest, Depends(_Credentials(LoginRequest))],
) -> Response:
    """An access token for one hour and a refresh token for 30 days. The answer does not tell whether the account
    exists, nor does the time it takes.

    Failures are limited for each address and for each account; a success does not count."""
    email = users.normal_email(body.email)
    async with hub.db.reading() as view:
        account = await _account_quota(view, hub, email, source)
        user = await users.find_user_by_email(view, body.email)
    hub.throttle.check(account.key)
    told = {"subject": user.id} if user else {"hint": security_log.hint_of(email, secret=_secret(hub))}
    async with hub.throttle.turn():
        counted = await _count_login(hub, source, account, told)
        right = await users.is_right_password(user, body.password)
    if user is None or not right:
        raise await _refused_login(hub, source, counted, told)
    modern_hash = await users.modern_hash(user, body.password)
    now = hub.clock.now()
    try:
        async with hub.db.transaction() as tx:
            if modern_hash is not None:
                await users.replace_password_hash(tx, user, modern_hash, now=now)
            pair = await service.sign_in(tx, hub.tokens, user, source=source, now=now)
            await attempts.note_success(tx, email, source.origin, secret=_secret(hub), now=now)
            await security_log.forget_expired(tx, days=hub.settings.security_log_days, now=now)
            await hub.throttle.give_back(tx, counted)
    except UserGone:
        raise await _refused_login(hub, source, counted, told) from None
    _log.info("auth.signed_in", user_id=user.id)
    headers = counted[0].given_back.headers()
    return _signed_in(pair.token, pair.refresh_token, pair.user_id, headers=headers)


async def _refused_login(
    hub: Hub, source: Source, counted: Sequence[Counted], told: dict[str, Any]
) -> WrongCredentials:
    """Noted before it is answered: what cannot be noted does not happen."""
    async with hub.db.transaction() as tx:
        await security_log.record(tx, SecurityAction.LOGIN_FAILED, source=source, now=hub.clock.now(), **told)
    _log.info("auth.login_refused", user_id=told.get("subject"))
    return WrongCredentials(headers=counted[0].allowance.headers())


@router.post(
    "/refresh",
    summary="Renew tokens",
    responses={200: {"model": Renewed}, **errors(400, 401, 429)},
    openapi_extra={"security": [{}, {"BearerAuth": []}]},
    dependencies=[PUBLIC],
)
async def refresh_tokens(
    request: Request,
    hub: CurrentHub,
    source: CurrentSource,
    body: Annotated[RefreshRequest, Depends(_OptionalBody(RefreshRequest))],
) -> Response:
    """Exchange a refresh token for a new pair. Each one can be used once; for a minute the same exchange may be
    repeated, for clients that lost the answer. An older token coming back ends the whole family.

    Without a refresh token, a valid access token in the header is exchanged for a new access token only.
    """
    try:
        claims = _claims_of(hub, request, body)
    except DataCollectError as refused:
        await _count_unreadable(hub, source)
        await _note_unreadable(hub, source, refused)
        raise
    user_id, now = UserId(claims.user_id), hub.clock.now()
    hub.throttle.check(_refresh_key(claims))
    outcome: service.TokenPair | DataCollectError
    async with hub.db.transaction() as tx:
        refused_more = await _count_refresh_of(tx, hub, claims, source)
        if refused_more is not None:
            outcome = refused_more
        elif isinstance(claims, RefreshClaims):
            secrets = hub.settings.token_secrets
            outcome = await service.refresh(tx, hub.tokens, claims, source=source, secrets=secrets, now=now)
        else:
            outcome = await service.renew_access(tx, hub.tokens, claims, source=source, now=now)
        await security_log.forget_expired(tx, days=hub.settings.security_log_days, now=now)
    if isinstance(outcome, DataCollectError):
        # What was refused may have ended the session.
        hub.auth.forget(user_id)
        raise outcome
    return _signed_in(outcome.token, outcome.refresh_token, outcome.user_id)


def _claims_of(hub: Hub, request: Request, body: RefreshRequest) -> RefreshClaims | AccessClaims:
    if body.refresh_token is not None:
        return _refresh_claims(hub, body.refresh_token)
    authorization = request.headers.get("authorization")
    if not authorization:
        raise NoToken()
    return service.access_claims(hub.tokens, authorization)


async def _note_unreadable(hub: Hub, source: Source, refused: DataCollectError) -> None:
    """A token that says nothing the hub could believe: nobody knows whose it is."""
    async with hub.db.transaction() as tx:
        await security_log.record(
            tx,
            SecurityAction.REFRESH_REFUSED,
            source=source,
            now=hub.clock.now(),
            details={"code": refused.code},
        )


@router.post(
    "/logout",
    summary="Sign out",
    responses=errors(400, 401),
    openapi_extra={"security": [{}, {"BearerAuth": []}]},
    dependencies=[PUBLIC],
)
async def logout(
    request: Request,
    hub: CurrentHub,
    source: CurrentSource,
    body: Annotated[RefreshRequest, Depends(_OptionalBody(LogoutRequest))],
) -> SessionReply:
    """Ends the sign-in the refresh token belongs to, with its access token; without one, that of the valid access token in
    the header."""
    claims = _claims_of(hub, request, body)
    async with hub.db.transaction() as tx:
        await service.sign_out(tx, claims, source=source, now=hub.clock.now())
    hub.auth.forget(UserId(claims.user_id))
    _log.info("auth.signed_out", user_id=claims.user_id)
    return SessionReply(message="Signed out")


@router.post(
    "/me/password", summary="Change one's own password", responses=errors(400, 401, 403, 409, 429, texts=_BUSY)
)
async def change_password(
    hub: CurrentHub,
    actor: AnyAccount,
    source: CurrentSource,
    body: Annotated[PasswordChange, Depends(_NewPasswordBody(PasswordChange))],
) -> SessionReply:
    """Ends every session of the account, this one too: sign in again with the new password. A wrong current password
    counts as a failed login does."""
    async with hub.db.reading() as view:
        user = None if actor.user_id is None else await users.find_user(view, actor.user_id)
        if user is None:
            raise UserGone()
        strict = hub.settings.guessable_passwords_refused
        issues = users.password_issues(body.new_password, member="newPassword", strict=strict, email=user.email)
        if body.new_password == body.current_password:
            issues.append(users.same_password_issue(member="newPassword"))
        if issues:
            raise users.InvalidAccount(issues)
        quota = await _account_quota(view, hub, user.email, source)
    async with hub.throttle.turn():
        counted = await _count_guess(hub, quota, user.id, source)
        right = await users.is_right_password(user, body.current_password)
    if not right:
        raise await _refused_change(hub, source, user.id)
    password_hash = await users.hash_password(body.new_password)
    now = hub.clock.now()
    async with hub.db.transaction() as tx:
        await users.change_own_password(tx, user, password_hash=password_hash, now=now)
        ended = await service.end_sessions(tx, user.id, actor=actor, source=source, now=now)
        await hub.throttle.give_back(tx, counted)
        told: dict[str, Any] = {"actor": user.id, "subject": user.id, "details": {"sessions": ended}}
        await security_log.record(tx, SecurityAction.PASSWORD_CHANGED, source=source, now=now, **told)
    hub.auth.forget(user.id)
    _log.info("auth.password_changed", user_id=user.id)
    return SessionReply(message="Password changed successfully")


async def _count_guess(hub: Hub, quota: Quota, user_id: UserId, source: Source) -> Sequence[Counted]:
    """Count a guess of the account's password, together with its failed logins. Raises `TooManyGuesses`."""
    now = hub.clock.now()
    async with hub.db.transaction() as tx:
        counted = await attempts.count_attempt(tx, quota, now=now)
        if counted[0].is_first_refusal:
            action = SecurityAction.LOGIN_LOCKED
            await security_log.record(tx, action, source=source, now=now, actor=user_id, subject=user_id)
    if counted[0].allowance.exceeded:
        raise TooManyGuesses(headers=counted[0].allowance.headers())
    return counted


async def _refused_change(hub: Hub, source: Source, user_id: UserId) -> users.WrongPassword:
    now = hub.clock.now()
    async with hub.db.transaction() as tx:
        action = SecurityAction.PASSWORD_REFUSED
        await security_log.record(tx, action, source=source, now=now, actor=user_id, subject=user_id)
    return users.WrongPassword()


@router.get("/me/sessions", summary="One's own sessions", response_model=list[SessionOut], responses=errors(401, 403))
async def list_sessions(hub: CurrentHub, actor: CurrentUser) -> list[dict[str, Any]]:
    """Every sign-in of the account that lasts, the last used first; at most 200.

    A session is used when it begins and when its tokens are refreshed, which clients do about hourly.
    """
    now = hub.clock.now()
    async with hub.db.reading() as view:
        found = await service.list_sessions(view, _own_id(actor), now=now, limit=MOST_LISTED)
    return [_session(session, current=session.family == actor.session) for session in found]


@router.delete("/me/sessions", summary="End one's other sessions", responses=errors(401, 403))
async def end_other_sessions(hub: CurrentHub, actor: CurrentUser, source: CurrentSource) -> Ended:
    """Ends every sign-in of the account but this one, with their access tokens: at once here, within a second in other
    processes."""
    user_id = _own_id(actor)
    async with hub.db.transaction() as tx:
        ended = await service.end_sessions(
            tx, user_id, but=actor.session, actor=actor, source=source, now=hub.clock.now()
        )
    hub.auth.forget(user_id)
    return Ended(message="Sessions ended", ended=ended)


@router.delete("/me/sessions/{sessionId}", summary="End one of one's own sessions", responses=errors(401, 403, 404))
async def end_session(
    hub: CurrentHub,
    actor: CurrentUser,
    source: CurrentSource,
    wanted: Annotated[str, Path(alias="sessionId", description="The `id` from the list.")],
) -> Ended:
    """Ends the sign-in with its access token: at once here, within a second in other processes. It may be this one."""
    user_id = _own_id(actor)
    async with hub.db.transaction() as tx:
        await service.end_session(tx, user_id, wanted, source=source, now=hub.clock.now())
    hub.auth.forget(user_id)
    return Ended(message="Session ended", ended=1)


@router.delete("/{id}/sessions", summary="End an account's sessions", responses=errors(401, 403, 404))
async def end_user_sessions(
    hub: CurrentHub,
    actor: CurrentAdmin,
    source: CurrentSource,
    key: Annotated[str, Path(alias="id", description="The account's id.")],
) -> Ended:
    """Signs the account out everywhere: at once here, within a second in other processes. It can sign in again."""
    user_id = _account_id(key)
    async with hub.db.transaction() as tx:
        if await users.find_user(tx, user_id) is None:
            raise users.UserNotFound()
        ended = await service.end_sessions(tx, user_id, actor=actor, source=source, now=hub.clock.now())
    hub.auth.forget(user_id)
    return Ended(message="Sessions ended", ended=ended)


def _own_id(actor: Actor) -> UserId:
    if actor.user_id is None:
        raise UserGone()
    return actor.user_id


def _account_id(text: str) -> UserId:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise users.UserNotFound()
    return UserId(int(text))


def _session(session: LiveSession, *, current: bool) -> dict[str, Any]:
    return {
        "id": session.id,
        "createdAt": format_timestamp(session.created_at),
        "lastUsedAt": format_timestamp(session.last_used_at),
        "expiresAt": format_timestamp(session.expires_at),
        "origin": session.origin,
        "userAgent": session.user_agent,
        "current": current,
    }


def _refresh_claims(hub: Hub, token: str) -> RefreshClaims:
    try:
        claims = hub.tokens.read_refresh(token)
    except TokenInvalid:
        raise RefreshTokenInvalid() from None
    if claims is None:
        raise NotARefreshToken()
    return claims


def _secret(hub: Hub) -> bytes:
    return hub.settings.token_secrets[0]


def _signed_in(
    token: str, refresh_token: str | None, user_id: int, *, headers: Mapping[str, str] | None = None
) -> Response:
    body: dict[str, Any] = {"token": token, "userId": user_id}
    if refresh_token is not None:
        body["refreshToken"] = refresh_token
    return Response(msgspec.json.encode(body), media_type="application/json", headers=headers)
