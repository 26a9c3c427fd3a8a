"""Signed tokens of others: reading one, finding the key that must have made it, checking that it did. No I/O.

Only signatures with public keys are known here. What is signed with a shared secret (HS*) or not at all is refused
before a key is looked for, and a key serves for the one kind of signature it is made for: so a public key can never be
taken for a secret (RFC 8725, 3.1 and 3.2).
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, RSAKey
from joserfc.jws import JWSRegistry

from datacollect.kernel.oidc import TokenRefused

LONGEST_TOKEN = 16 * 1024
"""Bytes. Tokens with hundreds of roles have 8 KB; most proxies let no larger header through."""

ALGORITHMS = ("RS256", "PS256", "ES256")

_LONGEST_HEADER = 4096
_MOST_KEYS = 100
_RSA_BITS = range(2048, 8193)
_JWS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_TOKEN_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""`typ` in a header. Others name what is no token of a person: a logout, a proof, an event."""


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token that has been read and not yet believed."""

    text: str
    algorithm: str
    key_id: str | None
    type: str
    """What the header says it is, in lower case."""
    claims: Mapping[str, Any]


class _Registry(JWSRegistry):
    max_header_length = _LONGEST_HEADER
    max_payload_length = LONGEST_TOKEN


_REGISTRIES = {name: _Registry(algorithms=[name], strict_check_header=False) for name in ALGORITHMS}


def is_jws(token: str) -> bool:
    """Whether a token has the form of a signed one. Others (opaque, encrypted) only their provider can read."""
    parts = _JWS.fullmatch(token)
    return parts is not None and "enc" not in _json_object(parts[1], {"enc": None})


def read_unverified(token: str) -> Unverified:
    """Raises `TokenRefused` for what is no token we could check."""
    parts = _JWS.fullmatch(token) if len(token) <= LONGEST_TOKEN else None
    if parts is None or len(parts[1]) > _LONGEST_HEADER:
        raise TokenRefused("form")
    header = _json_object(parts[1])
    algorithm, key_id, type_ = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if algorithm not in ALGORITHMS:
        raise TokenRefused("algorithm")
    # `crit` names extensions that must be understood; we understand none.
    if "crit" in header or not isinstance(key_id, str | None) or not isinstance(type_, str):
        raise TokenRefused("header")
    if type_.lower() not in _TOKEN_TYPES:
        raise TokenRefused("kind of token")
    return Unverified(token, algorithm, key_id, type_.lower(), _json_object(parts[2]))


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """The keys a provider signs with."""

    keys: Sequence[tuple[str | None, str, Key]]
    """Key id, algorithm, key."""

    @classmethod
    def read(cls, document: Any) -> "PublicKeys":
        """From a JWKS document. Keys that cannot be used here are left out, whatever else is wrong with them."""
        listed = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(listed, list):
            raise TokenRefused("key document")
        return cls([found for one in listed[:_MOST_KEYS] if isinstance(one, dict) for found in _usable(one)])

    def knows(self, key_id: str | None) -> bool:
        """Whether asking the provider again could not help. Without an id there is nothing to ask for."""
        return key_id is None or any(known == key_id for known, _, _ in self.keys)

    def check(self, token: Unverified) -> None:
        """Raises `TokenRefused` unless one of the keys that can have signed the token did."""
        fitting = [
            key
            for key_id, algorithm, key in self.keys
            if algorithm == token.algorithm and token.key_id in (None, key_id)
        ]
        if not fitting:
            raise TokenRefused("unknown key")
        if token.key_id is None and len(fitting) > 1:
            raise TokenRefused("no key named")
        if not any(_is_signed(token, key) for key in fitting):
            raise TokenRefused("signature")


def _usable(jwk: Mapping[str, Any]) -> Sequence[tuple[str | None, str, Key]]:
    """The key with each algorithm it may be used with."""
    key_id, named = jwk.get("kid"), jwk.get("alg")
    if jwk.get("use", "sig") != "sig" or not isinstance(key_id, str | None):
        return []
    if "key_ops" in jwk and not (isinstance(jwk["key_ops"], list) and "verify" in jwk["key_ops"]):
        return []
    public = {name: value for name, value in jwk.items() if name in {"kty", "n", "e", "crv", "x", "y"}}
    try:
        algorithms, key = _imported(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return []
    return [(key_id, one, key) for one in algorithms if named in (None, one)]


def _imported(jwk: dict[str, Any]) -> tuple[Sequence[str], Key]:
    """The key and the algorithms of its kind. Raises for keys of other kinds, and for weak ones."""
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _:
            if _bits(jwk["n"]) not in _RSA_BITS:
                raise ValueError("size")
            return ("RS256", "PS256"), RSAKey.import_key(jwk)
        case "EC", "P-256":
            return ("ES256",), ECKey.import_key(jwk)
    raise ValueError("kind")


def _bits(number: str) -> int:
    return int.from_bytes(_decoded(number)).bit_length()


def _is_signed(token: Unverified, key: Key) -> bool:
    try:
        jws.deserialize_compact(token.text, key, registry=_REGISTRIES[token.algorithm])
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        return False
    return True


def _json_object(part: str, otherwise: dict[str, Any] | None = None) -> dict[str, Any]:
    """A part of a token, which is JSON in base64url."""
    try:
        value = msgspec.json.decode(_decoded(part))
        if isinstance(value, dict):
            return value
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, RecursionError):
        pass
    if otherwise is None:
        raise TokenRefused("form")
    return otherwise


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
