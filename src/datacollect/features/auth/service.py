"""Signing in, refreshing, and the guards. Source: the contract's authentication area, 1-4 and 8.1-8.4."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from datacollect.db import Database, Tx
from datacollect.features.auth import queries
from datacollect.features.auth.errors import (
    AccessTokenInvalid,
    HeaderMissing,
    RefreshTokenInvalid,
    SchemeUnknown,
    SelfServiceForbidden,
    TooManyLogins,
    UserGone,
)
from datacollect.features.auth.model import Session, Verdict, hash_of, judge, successor
from datacollect.features.users import service as users
from datacollect.features.users.service import User
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.errors import Unauthenticated
from datacollect.kernel.identity import Actor
from datacollect.kernel.ids import UserId, new_guid
from datacollect.kernel.tokens import (
    REFRESH_SECONDS,
    AccessClaims,
    RefreshClaims,
    SelfServiceToken,
    TokenInvalid,
    Tokens,
)

LOGIN_WINDOW_SECONDS = 900
_STALE_MILLIS = 1000
"""How long a change made by another process may go unnoticed here."""

_REMEMBERED_USERS = 10_000


@dataclass(frozen=True, slots=True)
class TokenPair:
    token: str
    refresh_token: str
    user_id: UserId


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a rate limit after this attempt."""

    limit: int
    remaining: int
    reset_seconds: int
    exceeded: bool

    def headers(self) -> Mapping[str, str]:
        """Draft 7 of the IETF's RateLimit header fields."""
        state = f"limit={self.limit}, remaining={self.remaining}, reset={self.reset_seconds}"
        return {"RateLimit-Policy": f"{self.limit};w={LOGIN_WINDOW_SECONDS}", "RateLimit": state}

    def require(self) -> None:
        """Raises `TooManyLogins` once the limit is passed."""
        if self.exceeded:
            raise TooManyLogins(headers={**self.headers(), "Retry-After": str(self.reset_seconds)})


async def count_login(tx: Tx, address: str, *, limit: int, now: Millis) -> Allowance:
    """Count a login attempt of a client address, successes too."""
    window_millis = LOGIN_WINDOW_SECONDS * 1000
    count, began = await queries.count_attempt(tx, f"login:ip:{address}", now=now, window_millis=window_millis)
    reset_seconds = max(1, -(-(began + window_millis - now) // 1000))
    return Allowance(limit, max(0, limit - count), reset_seconds, exceeded=count > limit)


async def sign_in(tx: Tx, tokens: Tokens, user: User, *, now: Millis) -> TokenPair:
    """Begin a family of refresh tokens."""
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
    return _pair(tokens, user, family=family, token_id=token_id, issued_at=now)


async def refresh(
    tx: Tx, tokens: Tokens, claims: RefreshClaims, *, secret: bytes, now: Millis
) -> TokenPair | Unauthenticated:
    """Exchange a refresh token for its successor, or say what is wrong.

    A refusal is returned, not raised: the family it may have ended must be committed before the caller is told.
    """
    session = await queries.lock_session(tx, claims.family)
    match judge(session, hash_of(claims.token_id), now=now):
        case Verdict.REFUSE:
            return RefreshTokenInvalid()
        case Verdict.REVOKE:
            await queries.revoke_session(tx, claims.family, now=now)
            return RefreshTokenInvalid()
        case verdict:
            assert session is not None
    user = await users.find_user(tx, UserId(claims.user_id))
    if user is None:
        return UserGone()
    token_id = successor(claims.token_id, secret=secret)
    if verdict is Verdict.REPEAT:
        return _pair(tokens, user, family=claims.family, token_id=token_id, issued_at=session.rotated_at)
    await queries.rotate_session(tx, session, new_hash=hash_of(token_id), now=now, expires_at=_expiry(now))
    return _pair(tokens, user, family=claims.family, token_id=token_id, issued_at=now)


async def sign_out(tx: Tx, claims: RefreshClaims, *, now: Millis) -> None:
    """End the family the token belongs to; harmless when it has ended."""
    await queries.revoke_session(tx, claims.family, now=now)


def access_token(tokens: Tokens, user: User) -> str:
    return tokens.access(user.to_wire(), version=user.version)


def _pair(tokens: Tokens, user: User, *, family: str, token_id: str, issued_at: Millis) -> TokenPair:
    refresh_token = tokens.refresh(
        user_id=user.id, email=user.email, family=family, token_id=token_id, issued_at=issued_at
    )
    return TokenPair(access_token(tokens, user), refresh_token, user.id)


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
        self.tokens = tokens

    async def staff(self, authorization: str | None) -> Actor:
        scheme, token = _split(authorization)
        if scheme != "bearer":
            raise SchemeUnknown()
        try:
            return await self._actor(self.tokens.read_access(token))
        except SelfServiceToken:
            raise SelfServiceForbidden() from None
        except TokenInvalid:
            raise Unauthenticated() from None

    async def sync_caller(self, authorization: str | None) -> Actor:
        scheme, token = _split(authorization)
        try:
            if scheme != "bearer":
                raise TokenInvalid
            return await self._actor(self.tokens.read_access(token))
        except TokenInvalid:
            raise Unauthenticated() from None

    async def renewed_access(self, authorization: str | None) -> tuple[str, UserId]:
        """A new access token for a valid one; raises `AccessTokenInvalid`, `UserGone`."""
        scheme, token = _split(authorization)
        try:
            claims = self.tokens.read_access(token)
        except TokenInvalid:
            raise AccessTokenInvalid() from None
        user = await self._user(UserId(claims.user_id))
        if user is None:
            raise UserGone()
        if scheme != "bearer" or user[0].version != claims.version:
            raise AccessTokenInvalid()
        return access_token(self.tokens, user[0]), user[0].id

    def forget(self, user_id: UserId) -> None:
        """The account has just been changed here."""
        self._users.pop(user_id, None)

    async def _actor(self, claims: AccessClaims) -> Actor:
        held = await self._user(UserId(claims.user_id))
        if held is None or held[0].version != claims.version:
            raise TokenInvalid
        return held[1]

    async def _user(self, user_id: UserId) -> tuple[User, Actor, Millis] | None:
        now = self._clock.now()
        held = self._users.get(user_id)
        if held is not None and 0 <= now - held[2] < _STALE_MILLIS:
            return held
        async with self._database.reading() as view:
            user = await users.find_user(view, user_id)
        if user is None:
            self.forget(user_id)
            return None
        fresh = self._users[user_id] = (user, user.to_actor(), now)
        if len(self._users) > _REMEMBERED_USERS:
            self._users.popitem(last=False)
        return fresh


def _split(authorization: str | None) -> tuple[str, str]:
    """Scheme, in lower case, and token. Raises `HeaderMissing`."""
    if not authorization:
        raise HeaderMissing()
    scheme, _, token = authorization.partition(" ")
    return scheme.lower(), token.strip()
