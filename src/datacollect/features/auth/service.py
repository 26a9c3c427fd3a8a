"""Signing in, refreshing, sessions, and the guards. Source: the contract's authentication area, 1-4 and 8.1-8.4."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from datacollect.db import Database, Reading, Tx
from datacollect.db.lookups import LookUps
from datacollect.features.auth import attempts, queries
from datacollect.features.auth.attempts import Counted
from datacollect.features.auth.errors import (
    AccessTokenInvalid,
    HeaderMissing,
    RefreshTokenInvalid,
    SchemeUnknown,
    SelfServiceForbidden,
    SessionNotFound,
    UserGone,
)
from datacollect.features.auth.model import (
    MOST_SIGN_INS,
    LiveSession,
    Session,
    Verdict,
    hash_of,
    judge,
    session_id,
    successor,
)
from datacollect.features.security_log import service as security_log
from datacollect.features.security_log.service import SecurityAction
from datacollect.features.users import service as users
from datacollect.features.users.service import User
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.errors import DataCollectError, Unauthenticated
from datacollect.kernel.identity import Actor
from datacollect.kernel.ids import UserId, new_guid
from datacollect.kernel.rates import Allowance
from datacollect.kernel.source import Source
from datacollect.kernel.tokens import (
    REFRESH_SECONDS,
    AccessClaims,
    RefreshClaims,
    SelfServiceToken,
    TokenInvalid,
    Tokens,
)

__all__ = ["Counted", "TokenAuthenticator", "count_attempt", "count_login", "sign_in"]

_log = structlog.get_logger(component="auth")

_REMEMBERED_CALLERS = 10_000


@dataclass(frozen=True, slots=True)
class TokenPair:
    token: str
    refresh_token: str | None
    """None where an access token was renewed by itself."""
    user_id: UserId


async def count_login(tx: Tx, origin: str, *, limit: int, now: Millis) -> Sequence[Counted]:
    """Count an attempt of an address to sign in, by whatever means; `Throttle.give_back` takes it back when it succeeds."""
    counted = await attempts.count_attempt(tx, *attempts.login_quotas(origin, limit=limit), now=now)
    return await attempts.spare_site(tx, counted)


async def count_attempt(tx: Tx, key: str, *, limit: int, now: Millis) -> Allowance:
    """Count something else that is limited per 15 minutes, successes too. What `key` names shares one count."""
    [counted] = await attempts.count_attempt(tx, attempts.Quota(key, limit), now=now)
    return counted.allowance


async def sign_in(
    tx: Tx, tokens: Tokens, user: User, *, source: Source, by: str = "password", now: Millis
) -> TokenPair:
    """Begin a family of refresh tokens. `by` is how they have shown who they are. Raises `UserGone`."""
    token_id, family = new_guid(), new_guid()
    session = Session(
        family=family,
        user_id=user.id,
        version=user.version,
        current_hash=hash_of(token_id),
        previous_hash=None,
        rotated_at=now,
        expires_at=_expiry(now),
        revoked_at=None,
    )
    await queries.insert_session(tx, session, source)
    # Only now: the insert holds the account's row, as a deletion of the account does before it takes the families.
    await queries.delete_ended_sessions(tx, user.id, version=user.version, now=now)
    if ended := await queries.delete_surplus_sessions(tx, user.id, most=MOST_SIGN_INS - 1, but=family):
        surplus = {"sessions": ended, "by": "number"}
        await _record(tx, SecurityAction.SESSION_REVOKED, user.id, source=source, now=now, details=surplus)
    told = {"session": session_id(family), "by": by}
    await _record(tx, SecurityAction.LOGIN_SUCCEEDED, user.id, source=source, now=now, details=told)
    return _pair(tokens, user, family=family, token_id=token_id, issued_at=now)


async def refresh(
    tx: Tx,
    tokens: Tokens,
    claims: RefreshClaims,
    *,
    source: Source,
    secrets: Sequence[bytes],
    now: Millis,
) -> TokenPair | DataCollectError:
    """Exchange a refresh token for its successor, or say what is wrong. `secrets` are those that successors may have
    been made with, the present one first.

    A refusal is returned, not raised: the family it may have ended must be committed before the caller is told.
    """
    user = await users.find_user(tx, UserId(claims.user_id))
    if user is None:
        await _record(tx, SecurityAction.REFRESH_REFUSED, UserId(claims.user_id), source=source, now=now)
        return UserGone()
    session = await queries.lock_session(tx, claims.family)
    verdict = judge(session, hash_of(claims.token_id), now=now)
    told = {"session": session_id(claims.family)}
    if verdict is Verdict.REFUSE or session is None:
        await _record(tx, SecurityAction.REFRESH_REFUSED, user.id, source=source, now=now, details=told)
        return RefreshTokenInvalid()
    if verdict is Verdict.REVOKE or claims.version != user.version:
        reused = verdict is Verdict.REVOKE
        await queries.revoke_session(tx, claims.family, now=now)
        action = SecurityAction.REFRESH_REUSED if reused else SecurityAction.REFRESH_REFUSED
        await _record(tx, action, user.id, source=source, now=now, details=told)
        _log.warning("auth.family_revoked", user_id=user.id, reused=reused)
        return RefreshTokenInvalid()
    await _record(tx, SecurityAction.REFRESH_SUCCEEDED, user.id, source=source, now=now, details=told)
    successors = [successor(claims.token_id, secret=secret) for secret in secrets]
    if verdict is Verdict.REPEAT:
        # The first time may have been before the secret was changed.
        token_id = next((one for one in successors if hash_of(one) == session.current_hash), successors[0])
        return _pair(tokens, user, family=claims.family, token_id=token_id, issued_at=session.rotated_at)
    new_hash = hash_of(successors[0])
    await queries.rotate_session(tx, session, source, new_hash=new_hash, now=now, expires_at=_expiry(now))
    return _pair(tokens, user, family=claims.family, token_id=successors[0], issued_at=now)


def access_claims(tokens: Tokens, authorization: str) -> AccessClaims:
    """What the access token in a header says, whether or not it still opens routes. Raises `AccessTokenInvalid`."""
    scheme, token = _split(authorization)
    try:
        if scheme != "bearer":
            raise TokenInvalid
        return tokens.read_access(token)
    except TokenInvalid:
        raise AccessTokenInvalid() from None


async def renew_access(
    tx: Tx, tokens: Tokens, claims: AccessClaims, *, source: Source, now: Millis
) -> TokenPair | DataCollectError:
    """A new access token for a valid one, as long as the sign-in it comes from lasts.

    A refusal is returned, not raised: the attempt counts all the same.
    """
    user = await users.find_user(tx, UserId(claims.user_id))
    if user is None:
        await _record(tx, SecurityAction.REFRESH_REFUSED, UserId(claims.user_id), source=source, now=now)
        return UserGone()
    told = {"session": session_id(claims.family)}
    if user.version != claims.version or not await queries.touch_session(tx, claims.family, source, now=now):
        await _record(tx, SecurityAction.REFRESH_REFUSED, user.id, source=source, now=now, details=told)
        return AccessTokenInvalid()
    await _record(tx, SecurityAction.REFRESH_SUCCEEDED, user.id, source=source, now=now, details=told)
    return TokenPair(_access_token(tokens, user, family=claims.family), None, user.id)


async def sign_out(tx: Tx, claims: RefreshClaims | AccessClaims, *, source: Source, now: Millis) -> None:
    """End the family the token belongs to; harmless when it has ended."""
    if await queries.revoke_session(tx, claims.family, now=now):
        told = {"session": session_id(claims.family)}
        await _record(tx, SecurityAction.LOGOUT, UserId(claims.user_id), source=source, now=now, details=told)


async def list_sessions(view: Reading, user_id: UserId, *, now: Millis, limit: int) -> Sequence[LiveSession]:
    """The account's sign-ins that last, the last used first. Raises `UserGone`."""
    user = await users.find_user(view, user_id)
    if user is None:
        raise UserGone()
    return await queries.list_live_sessions(view, user_id, version=user.version, now=now, limit=limit)


async def end_session(tx: Tx, user_id: UserId, wanted: str, *, source: Source, now: Millis) -> None:
    """End one of the account's own sign-ins. Raises `SessionNotFound`."""
    families = await queries.list_families(tx, user_id, now=now)
    family = next((one for one in families if session_id(one) == wanted), None)
    if family is None or not await queries.revoke_session(tx, family, now=now):
        raise SessionNotFound()
    told = {"session": wanted}
    await _record(tx, SecurityAction.SESSION_REVOKED, user_id, source=source, now=now, details=told)


async def end_sessions(
    tx: Tx, user_id: UserId, *, but: str | None = None, actor: Actor, source: Source, now: Millis
) -> int:
    """End the account's sign-ins, all of them or all but one family; how many that were."""
    ended = await queries.revoke_sessions(tx, user_id, but=but, now=now)
    if ended:
        await security_log.record(
            tx,
            SecurityAction.SESSION_REVOKED,
            source=source,
            now=now,
            actor=actor.user_id,
            subject=user_id,
            details={"sessions": ended},
        )
    return ended


_REFUSALS = frozenset((SecurityAction.REFRESH_REFUSED, SecurityAction.REFRESH_REUSED))


async def _record(
    tx: Tx,
    action: SecurityAction,
    user_id: UserId,
    *,
    source: Source,
    now: Millis,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Note what somebody did with their own account, or what was refused to somebody who claimed to be its owner."""
    actor = None if action in _REFUSALS else user_id
    await security_log.record(tx, action, source=source, now=now, actor=actor, subject=user_id, details=details)


def _pair(tokens: Tokens, user: User, *, family: str, token_id: str, issued_at: Millis) -> TokenPair:
    claims = RefreshClaims(user.id, user.version, family, token_id)
    refresh_token = tokens.refresh(claims, email=user.email, issued_at=issued_at)
    return TokenPair(_access_token(tokens, user, family=family), refresh_token, user.id)


def _access_token(tokens: Tokens, user: User, *, family: str) -> str:
    return tokens.access(user.to_wire(), version=user.version, family=family)


def _expiry(now: Millis) -> Millis:
    return Millis(now + REFRESH_SECONDS * 1000)


class TokenAuthenticator:
    """The guards of all routes; implements `Authenticator`.

    What an account may do and whether the sign-in lasts comes from the database, in one statement, and is remembered for
    at most a second, so a change takes effect at once here and within a second in other processes.
    """

    def __init__(self, database: Database, tokens: Tokens, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._callers = LookUps[_SignIn, _Caller | None](self._read, clock, most=_REMEMBERED_CALLERS)
        self._tokens = tokens

    async def staff(self, authorization: str | None) -> Actor:
        return await self._still(self._staff_claims(authorization))

    def staff_from_now_on(self, authorization: str | None) -> Callable[[], Awaitable[Actor]]:
        return partial(self._still, self._staff_claims(authorization))

    def _staff_claims(self, authorization: str | None) -> AccessClaims:
        scheme, token = _split(authorization)
        if scheme != "bearer":
            raise SchemeUnknown()
        try:
            return self._tokens.read_access(token)
        except SelfServiceToken:
            raise SelfServiceForbidden() from None
        except TokenInvalid:
            raise Unauthenticated() from None

    async def _still(self, claims: AccessClaims) -> Actor:
        try:
            return await self._actor(claims)
        except TokenInvalid:
            raise Unauthenticated() from None

    async def sync_caller(self, authorization: str | None) -> Actor:
        scheme, token = _split(authorization)
        try:
            if scheme != "bearer":
                raise TokenInvalid
            return await self._actor(self._tokens.read_access(token))
        except TokenInvalid:
            raise Unauthenticated() from None

    def forget(self, user_id: UserId) -> None:
        """The account, or one of its sign-ins, has just been changed here."""
        self._callers.forget(lambda sign_in: sign_in[0] == user_id)

    async def _actor(self, claims: AccessClaims) -> Actor:
        caller = await self._callers.find((UserId(claims.user_id), claims.family))
        if caller is None:
            raise UserGone()
        if caller.version != claims.version or not caller.signed_in:
            raise TokenInvalid
        return caller.actor

    async def _read(self, sign_in: "_SignIn") -> "_Caller | None":
        user_id, family = sign_in
        session = {"family": family, "signed_in": user_id, "now": self._clock.now()}
        async with self._database.glancing() as view:
            found = await users.find_user_and(view, user_id, queries.IS_ALIVE, session)
        if found is None:
            return None
        user, signed_in = found
        return _Caller(user.version, bool(signed_in), replace(user.to_actor(), session=family))


_SignIn = tuple[UserId, str]
"""Whose, and the family of its tokens."""


@dataclass(frozen=True, slots=True)
class _Caller:
    """Somebody who speaks from a sign-in, as the database had them a moment ago."""

    version: int
    signed_in: bool
    actor: Actor


def _split(authorization: str | None) -> tuple[str, str]:
    """Scheme, in lower case, and token. Raises `HeaderMissing`."""
    if not authorization:
        raise HeaderMissing()
    scheme, _, token = authorization.partition(" ")
    return scheme.lower(), token.strip()
