"""The tokens the hub signs. HS256 and nothing else; what a token is for stands in it and is checked.

`typ` and `aud` tell an access token from a refresh token, so a 30-day refresh token never opens a route. A citizen's
self-service token is told by its `scope`, as the contract names it. `ver` is the account's revocation version when the
token was issued and `fam` the sign-in it comes from. `kid` names the secret that signed it, for the time in which one
takes the place of another.
"""

import contextlib
import hashlib
import hmac
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import GuestProtocol, OctKey
from joserfc.jws import JWSRegistry
from joserfc.jwt import Token

from datacollect.kernel.clock import Clock, Millis

ACCESS_SECONDS = 3600
REFRESH_SECONDS = 30 * 24 * 3600
_REMEMBER_MILLIS = 30_000
_ISSUER = "datacollect-hub"
_ACCESS_AUDIENCE = "datacollect-hub:api"
_REFRESH_AUDIENCE = "datacollect-hub:refresh"
_SELF_SERVICE_AUDIENCE = "datacollect-hub:self-service"
SELF_SERVICE = "self-service"
"""The `scope` of a citizen's token, by which clients and the contract tell it."""
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


@dataclass(frozen=True, slots=True)
class SelfServiceClaims:
    """What the hub reads from a citizen's token. The sign-in that it names says the rest."""

    tenant_id: str
    entity_guid: str
    identifier: str
    session: str


class Tokens:
    """Signs and checks tokens. Checked access tokens are remembered for a moment, for a check costs 20 times more."""

    def __init__(self, secret: str, clock: Clock, *, previous: str | None = None, remembered: int = 10_000) -> None:
        """Signs with `secret`; what the `previous` one signed is still accepted."""
        self._header = {"alg": "HS256", "typ": "JWT", "kid": _key_id(secret)}
        self._keys = {_key_id(text): OctKey.import_key(text) for text in (secret, previous) if text is not None}
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
        own = {"typ": "access", "iss": _ISSUER, "aud": _ACCESS_AUDIENCE, "ver": version, "fam": family}
        return self._sign({**claims, **own}, self._clock.now(), ACCESS_SECONDS)

    def refresh(self, claims: RefreshClaims, *, email: str, issued_at: Millis) -> str:
        """A refresh token for 30 days. The same arguments give the same text, which makes rotation repeatable."""
        wire = {
            "id": claims.user_id,
            "email": email,
            "type": "refresh",
            "typ": "refresh",
            "iss": _ISSUER,
            "aud": _REFRESH_AUDIENCE,
            "ver": claims.version,
            "fam": claims.family,
            "jti": claims.token_id,
        }
        return self._sign(wire, issued_at, REFRESH_SECONDS)

    def self_service(self, claims: SelfServiceClaims) -> str:
        """A citizen's token for one hour, and for nothing else."""
        wire = {
            "scope": SELF_SERVICE,
            "identifier": claims.identifier,
            "entityGuid": claims.entity_guid,
            "tenantId": claims.tenant_id,
            "typ": SELF_SERVICE,
            "iss": _ISSUER,
            "aud": _SELF_SERVICE_AUDIENCE,
            "jti": claims.session,
        }
        return self._sign(wire, self._clock.now(), ACCESS_SECONDS)

    def read_self_service(self, token: str) -> SelfServiceClaims | None:
        """None for a valid token of another kind. Raises `TokenInvalid`."""
        claims = self._verified(token)
        if claims.get("typ") == "refresh":
            raise TokenInvalid
        if claims.get("scope") != SELF_SERVICE:
            return None
        if not _is_meant_as(claims, SELF_SERVICE, _SELF_SERVICE_AUDIENCE):
            raise TokenInvalid
        return SelfServiceClaims(*(_text(claims, name) for name in ("tenantId", "entityGuid", "identifier", "jti")))

    def read_access(self, token: str) -> AccessClaims:
        """Raises `SelfServiceToken` or `TokenInvalid`."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._checked.get(digest)
        if known is not None and self._clock.now() < known[1]:
            return known[0]
        claims = self._verified(token)
        if claims.get("scope") == SELF_SERVICE:
            raise SelfServiceToken
        if not _is_meant_as(claims, "access", _ACCESS_AUDIENCE):
            raise TokenInvalid
        access = AccessClaims(_number(claims, "id"), _number(claims, "ver"), _text(claims, "fam"))
        self._remember(digest, access, Millis(min(claims["exp"] * 1000, self._clock.now() + _REMEMBER_MILLIS)))
        return access

    def is_own(self, token: str) -> bool:
        """Whether the hub has signed it and it has not run out. Says nothing of what it is for, nor of its owner."""
        try:
            self._verified(token)
        except TokenInvalid:
            return False
        return True

    def read_refresh(self, token: str) -> RefreshClaims | None:
        """None for a valid token of another kind. Raises `TokenInvalid`."""
        claims = self._verified(token)
        if not _is_meant_as(claims, "refresh", _REFRESH_AUDIENCE):
            return None
        return RefreshClaims(_number(claims, "id"), _number(claims, "ver"), _text(claims, "fam"), _text(claims, "jti"))

    def _sign(self, claims: Mapping[str, Any], issued_at: Millis, seconds: int) -> str:
        issued = issued_at // 1000
        key = self._keys[self._header["kid"]]
        return jwt.encode(self._header, {**claims, "iat": issued, "exp": issued + seconds}, key, registry=_REGISTRY)

    def _verified(self, token: str) -> dict[str, Any]:
        try:
            claims = self._decoded(token).claims
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as refused:
            raise TokenInvalid from refused
        if _number(claims, "exp") * 1000 <= self._clock.now():
            raise TokenInvalid
        return claims

    def _decoded(self, token: str) -> Token:
        """Checked with the key it names. One that names none comes from an older hub: any key may have signed it."""
        for key in self._keys.values():
            with contextlib.suppress(BadSignatureError):
                return jwt.decode(token, partial(self._key_of, otherwise=key), registry=_REGISTRY)
        raise TokenInvalid

    def _key_of(self, token: GuestProtocol, *, otherwise: OctKey) -> OctKey:
        header = token.headers()
        return self._keys[header["kid"]] if "kid" in header else otherwise

    def _remember(self, digest: bytes, access: AccessClaims, until: Millis) -> None:
        self._checked.pop(digest, None)
        self._checked[digest] = (access, until)
        if len(self._checked) > self._most:
            self._checked.popitem(last=False)


def _key_id(secret: str) -> str:
    """A name for a secret that tells nothing of it."""
    return hmac.new(secret.encode(), b"datacollect-hub:key-id", hashlib.sha256).hexdigest()[:16]


def _is_meant_as(claims: Mapping[str, Any], kind: str, audience: str) -> bool:
    # Hubs before this one signed without `aud`; refresh tokens of theirs are about for 30 days.
    return claims.get("typ") == kind and claims.get("iss") == _ISSUER and claims.get("aud", audience) == audience


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
