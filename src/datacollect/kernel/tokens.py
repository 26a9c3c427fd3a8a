"""The tokens the hub signs. HS256 and nothing else; what a token is for stands in it and is checked.

`typ` tells an access token from a refresh token, so a 30-day refresh token never opens a route. A citizen's
self-service token is told by its `scope`, as the contract names it.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from datacollect.kernel.clock import Clock, Millis

ACCESS_SECONDS = 3600
REFRESH_SECONDS = 30 * 24 * 3600
_REMEMBERED = 10_000
_REMEMBER_MILLIS = 30_000
_ISSUER = "datacollect-hub"
_HEADER = {"alg": "HS256", "typ": "JWT"}


class TokenInvalid(Exception):
    """The token is not one of ours, has ended, or is meant for something else."""


class SelfServiceToken(TokenInvalid):
    """A citizen's token, where a staff member's is asked for."""


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What the hub reads from an access token. Rights are not among it: the database has them."""

    user_id: int
    version: int
    """The user's revocation version when the token was issued."""


@dataclass(frozen=True, slots=True)
class RefreshClaims:
    user_id: int
    family: str
    token_id: str


class Tokens:
    """Signs and checks tokens. Checked access tokens are remembered for a moment, for a check costs 20 times more."""

    def __init__(self, secret: str, clock: Clock) -> None:
        self._key = OctKey.import_key(secret)
        self._clock = clock
        self._checked: OrderedDict[bytes, tuple[AccessClaims, Millis]] = OrderedDict()

    def access(self, claims: Mapping[str, Any], *, version: int) -> str:
        """An access token for one hour. `claims` are those the contract shows to clients, `id` among them."""
        return self._sign(
            {**claims, "typ": "access", "iss": _ISSUER, "ver": version}, self._clock.now(), ACCESS_SECONDS
        )

    def refresh(self, *, user_id: int, email: str, family: str, token_id: str, issued_at: Millis) -> str:
        """A refresh token for 30 days. The same arguments give the same text, which makes rotation repeatable."""
        claims = {"id": user_id, "email": email, "type": "refresh", "typ": "refresh", "fam": family, "jti": token_id}
        return self._sign({**claims, "iss": _ISSUER}, issued_at, REFRESH_SECONDS)

    def read_access(self, token: str) -> AccessClaims:
        """Raises `SelfServiceToken` or `TokenInvalid`."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._checked.get(digest)
        if known is not None and self._clock.now() < known[1]:
            return known[0]
        claims = self._verified(token)
        if claims.get("scope") == "self-service":
            raise SelfServiceToken
        user_id, version = claims.get("id"), claims.get("ver")
        if claims.get("typ") != "access" or not isinstance(user_id, int) or not isinstance(version, int):
            raise TokenInvalid
        access = AccessClaims(user_id, version)
        self._remember(digest, access, Millis(min(claims["exp"] * 1000, self._clock.now() + _REMEMBER_MILLIS)))
        return access

    def read_refresh(self, token: str) -> RefreshClaims | None:
        """None for a valid token of another kind. Raises `TokenInvalid`."""
        claims = self._verified(token)
        user_id, family, token_id = claims.get("id"), claims.get("fam"), claims.get("jti")
        if claims.get("typ") != "refresh":
            return None
        if not isinstance(user_id, int) or not isinstance(family, str) or not isinstance(token_id, str):
            raise TokenInvalid
        return RefreshClaims(user_id, family, token_id)

    def _sign(self, claims: Mapping[str, Any], issued_at: Millis, seconds: int) -> str:
        issued = issued_at // 1000
        return jwt.encode(_HEADER, {**claims, "iat": issued, "exp": issued + seconds}, self._key)

    def _verified(self, token: str) -> dict[str, Any]:
        try:
            claims = jwt.decode(token, self._key, algorithms=["HS256"]).claims
        except (JoseError, ValueError, TypeError, KeyError) as refused:
            raise TokenInvalid from refused
        expires = claims.get("exp")
        if not isinstance(expires, int) or isinstance(expires, bool) or expires * 1000 <= self._clock.now():
            raise TokenInvalid
        return claims

    def _remember(self, digest: bytes, access: AccessClaims, until: Millis) -> None:
        self._checked[digest] = (access, until)
        if len(self._checked) > _REMEMBERED:
            self._checked.popitem(last=False)
