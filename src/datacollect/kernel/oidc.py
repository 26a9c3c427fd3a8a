"""Identity providers: how one is configured, and when what it says of a person is believed. Nothing here does I/O.

Sources: OpenID Connect Core 3.1.3.7, RFC 8725, RFC 9068; the contract's authentication area, 4, W7 and W8.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import Role

LEEWAY_MILLIS = 60_000
"""How far a provider's clock may be off."""

ID_TOKEN_MILLIS = 600_000
"""How long after it was made an ID token signs somebody in. Providers make them valid for up to a day."""

DEFAULT_ROLES = (Role.VIEWER, Role.ENUMERATOR, Role.SUPERVISOR)
"""What a provider may make of its people by itself. It never gives the right to change accounts or programs."""

KNOWN_TYPES = frozenset({"keycloak", "auth0"})
"""Compared without regard to case, as schemes are in HTTP. Every other type is compared exactly."""

NO_ROLE = "none"
"""As `default_role`: whoever has no account with a role in the program is nobody."""

HUB_FIELDS = frozenset({"default_role", "default_area", "userinfo"})
"""Fields of an `authConfigs` entry that are for the hub alone; apps would add them to their authorisation requests."""

_LONGEST_SUBJECT = 255
_SCHEME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_OTHERS = frozenset({"bearer", "self-service", "external"})
"""The word in front of the hub's own tokens, and what the names of citizens and of other systems begin with."""

_ID_TOKEN_CLAIMS = ("at_hash", "c_hash", "s_hash", "nonce")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class TokenRefused(Exception):
    """The token proves nothing here. Its argument says why, in a word or two for the log; never on the wire."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One that is configured well enough to be asked."""

    type: str
    authority: str
    """Where its documents are; without a slash at the end."""
    issuer: str
    """What it calls itself; without a slash at the end."""
    client_id: str | None = None
    audience: str | None = None
    organization: str | None = None
    default_role: Role | None = Role.ENUMERATOR
    """None: only accounts with a role in the program come in."""
    default_area: str | None = None
    userinfo: bool = False
    """Whether tokens that only the provider itself can read are shown to it. Nothing tells then whom they are for."""

    @property
    def accepts_something(self) -> bool:
        return bool(self.audience or self.client_id)

    def answers_to(self, scheme: str) -> bool:
        """Whether tokens behind that word of an `Authorization` header are its."""
        if scheme == self.type:
            return True
        return scheme.lower() in KNOWN_TYPES and scheme.lower() == self.type.lower()


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a provider vouches for."""

    subject: str
    email: str | None
    """Only if the provider has verified it."""
    expires_at: Millis


@dataclass(frozen=True, slots=True)
class Code:
    """What a provider sends somebody back with who has signed in, for one client to redeem."""

    code: str = field(repr=False)
    redirect_uri: str
    verifier: str | None = field(default=None, repr=False)
    """Of PKCE, if the code was asked for with a challenge."""


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What a code was redeemed for."""

    id_token: str = field(repr=False)
    access_token: str | None = field(repr=False)


def provider_of(type: str, fields: Mapping[str, str]) -> Provider | None:
    """The provider that an `authConfigs` entry describes; None if it describes none, or not rightly."""
    given = {key: value for key, value in fields.items() if value}
    authority = given.get("authority")
    if authority is None or not is_scheme(type) or any(provider_problems(fields)):
        return None
    return Provider(
        type=type,
        authority=authority.rstrip("/"),
        issuer=given.get("issuer", authority).rstrip("/"),
        client_id=given.get("client_id"),
        audience=given.get("audience"),
        organization=given.get("organization"),
        default_role=_default_role(given.get("default_role", Role.ENUMERATOR)),
        default_area=given.get("default_area"),
        userinfo=given.get("userinfo") == "true",
    )


def _default_role(given: str) -> Role | None:
    return None if given == NO_ROLE else Role(given)


def provider_problems(fields: Mapping[str, str], *, https_only: bool = False) -> Iterator[tuple[str, str]]:
    """What is wrong with an entry's fields: the field, and what it must be. Empty fields count as left out."""
    authority = fields.get("authority")
    if authority and (problem := address_problem(authority, https_only=https_only)):
        yield "authority", problem
    if (role := fields.get("default_role")) and role not in (*DEFAULT_ROLES, NO_ROLE):
        yield "default_role", f"must be one of {', '.join((*DEFAULT_ROLES, NO_ROLE))}"
    if fields.get("userinfo") not in (None, "", "true", "false"):
        yield "userinfo", 'must be "true" or "false"'


def address_problem(address: str, *, https_only: bool) -> str | None:
    """Why something cannot be the address of a provider; None if it can."""
    parts = _split(address)
    if parts is None or parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return "must be an absolute http or https URL"
    if "@" in parts.netloc or "?" in address or "#" in address:
        return "must be a URL without user, query and fragment"
    if https_only and parts.scheme != "https":
        return "must be an https URL"
    return None


def is_scheme(type: str) -> bool:
    """Whether a type can stand in front of a token, and of its people's names in trails."""
    return _SCHEME.fullmatch(type) is not None and type.lower() not in _OTHERS


def same_origin(one: str, other: str) -> bool:
    """Whether two addresses have the same scheme, host and port."""
    origins = [_origin(_split(address)) for address in (one, other)]
    return origins[0] is not None and origins[0] == origins[1]


def _split(address: str) -> SplitResult | None:
    if not address.isascii() or not address.isprintable() or " " in address or "\\" in address:
        return None
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises for what is no port
    except ValueError:
        return None
    return parts


def _origin(parts: SplitResult | None) -> tuple[str, str, int] | None:
    if parts is None or not parts.hostname or parts.scheme not in _DEFAULT_PORTS:
        return None
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]


def check_access_token(claims: Mapping[str, Any], provider: Provider, *, now: Millis) -> Identity:
    """Whom an access token's claims are about. Raises `TokenRefused`. The signature is checked elsewhere.

    Tokens that are known to be of another kind are refused: an ID token is meant for the app, and travels on ways
    that nobody guards like those of access tokens.
    """
    # Keycloak says so itself. Others' ID tokens are told by what only they have.
    kind = claims.get("typ")
    is_other = any(name in claims for name in _ID_TOKEN_CLAIMS) if kind is None else not _same_word(kind, "Bearer")
    if is_other or claims.get("token_use", "access") != "access":
        raise TokenRefused("kind of token")
    _check_issuer(claims, provider)
    expires_at = _check_times(claims, now)
    if not _is_meant_for_us(claims, provider):
        raise TokenRefused("audience")
    return _identity(claims, provider, expires_at)


def check_id_token(claims: Mapping[str, Any], provider: Provider, *, nonce: str | None, now: Millis) -> Identity:
    """Whom an ID token's claims are about, shortly after somebody signed in there. Raises `TokenRefused`."""
    if not _same_word(claims.get("typ", "ID"), "ID") or claims.get("token_use", "id") != "id":
        raise TokenRefused("kind of token")
    _check_issuer(claims, provider)
    expires_at = _check_times(claims, now)
    if _moment(claims, "iat") < now - ID_TOKEN_MILLIS - LEEWAY_MILLIS:
        raise TokenRefused("age")
    audiences = _audiences(claims)
    # An ID token names the client it was made for; `audience` is what access tokens name.
    if (provider.client_id or provider.audience) not in audiences:
        raise TokenRefused("audience")
    if provider.client_id and (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != provider.client_id:
        raise TokenRefused("authorized party")
    if claims.get("nonce") != nonce:
        raise TokenRefused("nonce")
    return _identity(claims, provider, expires_at)


def check_userinfo(claims: Mapping[str, Any], provider: Provider, *, expires_at: Millis) -> Identity:
    """Whom a provider's answer about a token is about. Raises `TokenRefused`."""
    return _identity(claims, provider, expires_at)


def check_told_of(claims: Mapping[str, Any], provider: Provider, *, subject: str, now: Millis) -> None:
    """Whether what userinfo says is about whom the ID token is about. Raises `TokenRefused`.

    The provider need not say for whom it is and for how long; if it does, it must be for us, and now.
    """
    if claims.get("sub") != subject:
        raise TokenRefused("userinfo of somebody else")
    if "iss" in claims:
        _check_issuer(claims, provider)
    if "aud" in claims and provider.client_id not in _audiences(claims):
        raise TokenRefused("audience of userinfo")
    if "exp" in claims:
        _check_times(claims, now)


def same_issuer(said: object, expected: str) -> bool:
    """Providers disagree on a slash at the end: Auth0's issuers have one, and configs often lack it."""
    return isinstance(said, str) and said.rstrip("/") == expected.rstrip("/")


def _check_issuer(claims: Mapping[str, Any], provider: Provider) -> None:
    if not same_issuer(claims.get("iss"), provider.issuer):
        raise TokenRefused("issuer")


def _check_times(claims: Mapping[str, Any], now: Millis) -> Millis:
    expires_at = Millis(_moment(claims, "exp") + LEEWAY_MILLIS)
    if expires_at <= now:
        raise TokenRefused("expired")
    for name in ("nbf", "iat"):
        if name in claims and _moment(claims, name) > now + LEEWAY_MILLIS:
            raise TokenRefused("not yet valid")
    return expires_at


def _moment(claims: Mapping[str, Any], name: str) -> int:
    """In milliseconds."""
    seconds = claims.get(name)
    # Infinity and NaN fail the comparison, and so does what would not fit the hub's clock.
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= 1e11:
        raise TokenRefused(f"no {name}")
    return int(seconds * 1000)


def _is_meant_for_us(claims: Mapping[str, Any], provider: Provider) -> bool:
    audiences = _audiences(claims)
    if provider.audience:
        return provider.audience in audiences
    if not provider.client_id:
        return False
    # Keycloak's access tokens name as audience what they open (`account`), and as `azp` the client that asked.
    return provider.client_id in audiences or claims.get("azp") == provider.client_id


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    audience = claims.get("aud")
    if isinstance(audience, str):
        return [audience]
    return [one for one in audience if isinstance(one, str)] if isinstance(audience, list) else []


def _identity(claims: Mapping[str, Any], provider: Provider, expires_at: Millis) -> Identity:
    if provider.organization and claims.get("org_id") != provider.organization:
        raise TokenRefused("organization")
    subject = claims.get("sub")
    # It is stored as who did something: what no database or log can hold is nobody.
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
        raise TokenRefused("subject")
    return Identity(subject, _verified_email(claims), expires_at)


def _verified_email(claims: Mapping[str, Any]) -> str | None:
    """In lower case if it is plain ASCII; as it is otherwise, for folding other letters makes one address of two."""
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return None
    return email.lower() if email.isascii() else email


def _same_word(said: object, expected: str) -> bool:
    return isinstance(said, str) and said.lower() == expected.lower()
