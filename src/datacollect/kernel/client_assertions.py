"""How the hub proves to an identity provider which client it is: by a short-lived JWT signed with the client's own key.

Sources: RFC 7523, 2.2 and 3; OpenID Connect Core, 9 (`private_key_jwt`). RS256 is what eSignet takes. No I/O.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jwt
from joserfc.jwk import RSAKey
from joserfc.util import urlsafe_b64decode

from datacollect.kernel.clock import Millis

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 60
LONGEST_KEY = 8192
"""Characters of a key as it is configured; 4096 bits have some 3,300 as PEM."""

_ALGORITHM = "RS256"
_BITS = range(2048, 4097)


class UnusableKey(Exception):
    """It is no private RSA key that can be used. Its argument says what it must be, and nothing of the key."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """What a client signs with."""

    key: RSAKey = field(repr=False)
    key_id: str | None = None


class _Jwk(msgspec.Struct):
    kty: Literal["RSA"]
    n: str
    e: str
    d: str
    p: str
    q: str
    dp: str
    dq: str
    qi: str
    kid: str | None = None


def read_client_key(text: str, *, is_checked: bool = False) -> ClientKey:
    """From PEM, or from a JWK as JSON. Raises `UnusableKey`.

    One that `is_checked` was accepted before: looking whether its numbers fit each other takes a tenth of a second.
    """
    key_id = None
    try:
        if text.lstrip().startswith("{"):
            jwk = msgspec.json.decode(text, type=_Jwk)
            key_id = jwk.kid
            key: Any = _numbers(jwk).private_key(unsafe_skip_rsa_key_validation=is_checked)
        else:
            key = load_pem_private_key(text.encode(), password=None, unsafe_skip_rsa_key_validation=is_checked)
    except (msgspec.DecodeError, ValueError, TypeError, UnsupportedAlgorithm):
        raise UnusableKey("must be a private RSA key: PEM without a password, or a JWK as JSON") from None
    if not isinstance(key, RSAPrivateKey):
        raise UnusableKey("must be a private RSA key")
    if key.key_size not in _BITS:
        raise UnusableKey(f"must have {_BITS.start} to {_BITS.stop - 1} bits")
    return ClientKey(RSAKey.import_key(key), key_id)


def _numbers(jwk: _Jwk) -> RSAPrivateNumbers:
    public = RSAPublicNumbers(_number(jwk.e), _number(jwk.n))
    p, q, d, dp, dq, qi = (_number(text) for text in (jwk.p, jwk.q, jwk.d, jwk.dp, jwk.dq, jwk.qi))
    return RSAPrivateNumbers(p=p, q=q, d=d, dmp1=dp, dmq1=dq, iqmp=qi, public_numbers=public)


def _number(text: str) -> int:
    return int.from_bytes(urlsafe_b64decode(text.encode("ascii")))


def client_assertion(key: ClientKey, client_id: str, *, audience: str, now: Millis) -> str:
    """For one request to `audience`, the address of the token endpoint."""
    issued = now // 1000
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": issued,
        "exp": issued + ASSERTION_SECONDS,
        "jti": secrets.token_urlsafe(16),
    }
    header = {"alg": _ALGORITHM, "typ": "JWT"} | ({} if key.key_id is None else {"kid": key.key_id})
    return jwt.encode(header, claims, key.key, algorithms=[_ALGORITHM])
