"""Signing in, refreshing, and the guards. Source: the contract's authentication area, 1-4 and 8.1-8.4."""

from collections import OrderedDict
from dataclasses import dataclass

import structlog

from datacollect.db import Database, Tx
from datacollect.features.auth import queries
from datacollect.features.auth.errors import (
    AccessTokenInvalid,
    HeaderMissing,
    RefreshTokenInvalid,
    SchemeUnknown,
    SelfServiceForbidden,
    TooManyRefreshes,
    UserGone,
)
from datacollect.features.auth.model import (
    WINDOW_SECONDS,
    Session,
    Verdict,
    hash_of,
    judge,
    successor,
)
from datacollect.features.users import service as users
from datacollect.features.users.service import User
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.errors import DataCollectError, Unauthenticated
from datacollect.kernel.identity import Actor
from datacollect.kernel.ids import UserId, new_guid
from datacollect.kernel.rates import Allowance, Rate
from datacollect.kernel.tokens import (
    REFRESH_SECONDS,
    AccessClaims,
    RefreshClaims,
    SelfServiceToken,
    TokenInvalid,
    Tokens,
)

_log = structlog.get_logger(component="auth")

_STALE_MILLIS = 1000
"""How long a change made by another process may go unnoticed here."""

_REMEMBERED_USERS = 10_000


@dataclass(frozen=True, slots=True)
class TokenPair:
    token: str
    refresh_token: str | None
    """None where an access token was renewed by itself."""
    user_id: UserId


async def count_attempt(tx: Tx, key: str, *, limit: int, now: Millis) -> Allowance:
    """Count something that is limited per 15 minutes, successes too. What `key` names shares one count; its first part
    is what callers are told that it is."""
    window_millis = WINDOW_SECONDS * 1000
    count, began = await queries.count_attempt(tx, key, now=now, window_millis=window_millis)
    if count == 1:
        await queries.delete_ended_attempts(tx, now=now, window_millis=window_millis)
    reset_seconds = max(1, -(-(began + window_millis - now) // 1000))
    rate = Rate(key.partition(":")[0], limit, WINDOW_SECONDS)
    return Allowance(rate, max(0, limit - count), reset_seconds, exceeded=count > limit)


async def sign_in(tx: Tx, tokens: Tokens, user: User, *, now: Millis) -> TokenPair:
    """Begin a family of refresh tokens. Raises `UserGone`."""
    token_id, family = new_guid(), new_guid()
    await queries.insert_session(
        tx,
        Session(
            family=family,
            user_id=user.id,
            current_hash=hash_of(token_id),
            previous_hash=None,
            rotated_at=now,
            expires_at=_expiry(now),
            revoked_at=None,
        ),
    )
    # Only now: the insert holds the account's row, as a deletion of the account does before it takes the families.
    await queries.delete_ended_sessions(tx, user.id, now=now)
    return _pair(tokens, user, family=family, token_id=token_id, issued_at=now)


async def refresh(
    tx: Tx, tokens: Tokens, claims: RefreshClaims, *, secret: bytes, limit: int, now: Millis
) -> TokenPair | DataCollectError:
    """Exchange a refresh token for its successor, or say what is wrong. `limit` is per user.

    A refusal is returned, not raised: the family it may have ended must be committed before the caller is told.
    """
    user = await users.find_user(tx, UserId(claims.user_id))
    if user is None:
        return UserGone()
    allowance = await count_attempt(tx, f"refresh:user:{user.id}", limit=limit, now=now)
    if allowance.exceeded:
        return TooManyRefreshes(headers=allowance.headers())
    session = await queries.lock_session(tx, claims.family)
    verdict = judge(session, hash_of(claims.token_id), now=now)
    if verdict is Verdict.REFUSE or session is None:
        return RefreshTokenInvalid()
    if verdict is Verdict.REVOKE or claims.version != user.version:
        await queries.revoke_session(tx, claims.family, now=now)
        _log.warning("auth.family_revoked", user_id=user.id, reused=verdict is Verdict.REVOKE)
        return RefreshTokenInvalid()
    token_id = successor(claims.token_id, secret=secret)
    if verdict is Verdict.REPEAT:
        return _pair(tokens, user, family=claims.family, token_id=token_id, issued_at=session.rotated_at)
    await queries.rotate_session(tx, session, new_hash=hash_of(token_id), now=now, expires_at=_expiry(now))
    return _pair(tokens, user, family=claims.family, token_id=token_id, issued_at=now)


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
    tx: Tx, tokens: Tokens, claims: AccessClaims, *, limit: int, now: Millis
) -> TokenPair | DataCollectError:
    """A new access token for a valid one, as long as the sign-in it comes from lasts. `limit` is per user.

    A refusal is returned, not raised: the attempt counts all the same.
    """
    user = await users.find_user(tx, UserId(claims.user_id))
    if user is None:
        return UserGone()
    allowance = await count_attempt(tx, f"refresh:user:{user.id}", limit=limit, now=now)
    if allowance.exceeded:
        return TooManyRefreshes(headers=allowance.headers())
    if user.version != claims.version or not await queries.is_alive(tx, claims.family, now=now):
        return AccessTokenInvalid()
    return TokenPair(_access_token(tokens, user, family=claims.family), None, user.id)


async def sign_out(tx: Tx, claims: RefreshClaims, *, now: Millis) -> None:
    """End the family the token belongs to; harmless when it has ended."""
    await queries.revoke_session(tx, claims.family, now=now)


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

    What an account may do comes from the database and is remembered for at most a second, so a change takes effect at
    once here and within a second in other processes.
    """

    def __init__(self, database: Database, tokens: Tokens, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._users: OrderedDict[UserId, tuple[User, Actor, Millis]] = OrderedDict()
        self._forgotten = 0
        self._tokens = tokens

    async def staff(self, authorization: str | None) -> Actor:
        scheme, token = _split(authorization)
        if scheme != "bearer":
            raise SchemeUnknown()
        try:
            return await self._actor(self._tokens.read_access(token))
        except SelfServiceToken:
            raise SelfServiceForbidden() from None
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
        """The account has just been changed here."""
        self._users.pop(user_id, None)
        self._forgotten += 1

    async def _actor(self, claims: AccessClaims) -> Actor:
        held = await self._user(UserId(claims.user_id))
        if held is None:
            raise UserGone()
        if held[0].version != claims.version:
            raise TokenInvalid
        return held[1]

    async def _user(self, user_id: UserId) -> tuple[User, Actor, Millis] | None:
        now = self._clock.now()
        held = self._users.get(user_id)
        if held is not None and 0 <= now - held[2] < _STALE_MILLIS:
            return held
        forgotten = self._forgotten
        async with self._database.reading() as view:
            user = await users.find_user(view, user_id)
        self._users.pop(user_id, None)
        if user is None:
            return None
        fresh = (user, user.to_actor(), now)
        if forgotten == self._forgotten:  # else an account was changed while this one was being read
            self._users[user_id] = fresh
        if len(self._users) > _REMEMBERED_USERS:
            self._users.popitem(last=False)
        return fresh


def _split(authorization: str | None) -> tuple[str, str]:
    """Scheme, in lower case, and token. Raises `HeaderMissing`."""
    if not authorization:
        raise HeaderMissing()
    scheme, _, token = authorization.partition(" ")
    return scheme.lower(), token.strip()
