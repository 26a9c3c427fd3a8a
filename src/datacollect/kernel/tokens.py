"""The tokens the hub signs. HS256 and nothing else; what a token is for stands in it and is checked.

`typ` tells an access token from a refresh token, so a 30-day refresh token never opens a route. A citizen's
self-service token is told by its `scope`, as the contract names it. `ver` is the account's revocation version when the
token was issued and `fam` the sign-in it comes from.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from joserfc.jws import JWSRegistry

from datacollect.kernel.clock import Clock, Millis

ACCESS_SECONDS = 3600
REFRESH_SECONDS = 30 * 24 * 3600
_REMEMBER_MILLIS = 30_000
_ISSUER = "datacollect-hub"
_HEADER = {"alg": "HS256", "typ": "JWT"}
_REGISTRY = JWSRegistry(algorithms=["HS256"])
_SNAPSHOT_BYTES = 4096
"""Room for the claims that only clients read. Many proxies refuse headers beyond 8 KB."""


class TokenInvalid(Exception):
    """The token is not one of ours, has ended, or is meant for something else."""


class SelfServiceToken(TokenInvalid):
    """A citizen's token, where a staff member's is asked for."""


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What the hub reads from an access token. Rights are not among it: the database has them."""

    user_id: int
    version: int
    family: str


@dataclass(frozen=True, slots=True)
class RefreshClaims:
    user_id: int
    version: int
    family: str
    token_id: str


class Tokens:
    """Signs and checks tokens. Checked access tokens are remembered for a moment, for a check costs 20 times more."""

    def __init__(self, secret: str, clock: Clock, *, remembered: int = 10_000) -> None:
        self._key = OctKey.import_key(secret)
        self._clock = clock
        self._most = remembered
        self._checked: OrderedDict[bytes, tuple[AccessClaims, Millis]] = OrderedDict()

    def access(self, claims: Mapping[str, Any], *, version: int, family: str) -> str:
        """An access token for one hour. `claims` are those the contract shows to clients, `id` among them.

        Someone in hundreds of programs gets a token without these lists: it would not pass as a header, and the hub
        takes rights from the database anyway.
        """
        if len(json.dumps(claims)) > _SNAPSHOT_BYTES:
            claims = {name: value for name, value in claims.items() if not isinstance(value, list)}
        own = {"typ": "access", "iss": _ISSUER, "ver": version, "fam": family}
        return self._sign({**claims, **own}, self._clock.now(), ACCESS_SECONDS)

    def refresh(self, claims: RefreshClaims, *, email: str, issued_at: Millis) -> str:
        """A refresh token for 30 days. The same arguments give the same text, which makes rotation repeatable."""
        wire = {
            "id": claims.user_id,
            "email": email,
            "type": "refresh",
            "typ": "refresh",
            "iss": _ISSUER,
            "ver": claims.version,
            "fam": claims.family,
            "jti": claims.token_id,
        }
        return self._sign(wire, issued_at, REFRESH_SECONDS)

    def read_access(self, token: str) -> AccessClaims:
        """Raises `SelfServiceToken` or `TokenInvalid`."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._checked.get(digest)
        if known is not None and self._clock.now() < known[1]:
            return known[0]
        claims = self._verified(token)
        if claims.get("scope") == "self-service":
            raise SelfServiceToken
        if claims.get("typ") != "access" or claims.get("iss") != _ISSUER:
            raise TokenInvalid
        access = AccessClaims(_number(claims, "id"), _number(claims, "ver"), _text(claims, "fam"))
        self._remember(digest, access, Millis(min(claims["exp"] * 1000, self._clock.now() + _REMEMBER_MILLIS)))
        return access

    def read_refresh(self, token: str) -> RefreshClaims | None:
        """None for a valid token of another kind. Raises `TokenInvalid`."""
        claims = self._verified(token)
        if claims.get("typ") != "refresh" or claims.get("iss") != _ISSUER:
            return None
        return RefreshClaims(_number(claims, "id"), _number(claims, "ver"), _text(claims, "fam"), _text(claims, "jti"))

    def _sign(self, claims: Mapping[str, Any], issued_at: Millis, seconds: int) -> str:
        issued = issued_at // 1000
        return jwt.encode(_HEADER, {**claims, "iat": issued, "exp": issued + seconds}, self._key, registry=_REGISTRY)

    def _verified(self, token: str) -> dict[str, Any]:
        try:
            claims = jwt.decode(token, self._key, registry=_REGISTRY).claims
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as refused:
            raise TokenInvalid from refused
        if _number(claims, "exp") * 1000 <= self._clock.now():
            raise TokenInvalid
        return claims

    def _remember(self, digest: bytes, access: AccessClaims, until: Millis) -> None:
        self._checked.pop(digest, None)
        self._checked[digest] = (access, until)
        if len(self._checked) > self._most:
            self._checked.popitem(last=False)


def _number(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TokenInvalid
    return value


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str):
        raise TokenInvalid
    return value
