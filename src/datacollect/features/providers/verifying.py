"""Whether a provider vouches for a token, and for whom."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from datacollect.features.providers.documents import Fetcher, FetchFailed, ProviderDocuments
from datacollect.features.providers.errors import ProviderUnavailable
from datacollect.features.providers.model import Remembered
from datacollect.features.providers.questions import RETRY_SECONDS, Questions
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.jwks import LONGEST_TOKEN, Unverified, is_jws, read_unverified
from datacollect.kernel.oidc import (
    Identity,
    Provider,
    TokenRefused,
    check_access_token,
    check_id_token,
    check_userinfo,
)

VERIFIED_MILLIS = 30_000
"""How long a checked token is known to be good."""

USERINFO_MILLIS = 60_000
USERINFO_REFUSED_MILLIS = 10_000
_MOST_TOKENS = 10_000

SENDABLE = re.compile(r"[!-~]+")
"""What can be passed on as a token: RFC 9110's visible characters."""

_Key = tuple[Provider, bytes]


class TokenVerifier:
    """Checks tokens of providers, and remembers those it has checked. One per process."""

    def __init__(self, fetcher: Fetcher, clock: Clock) -> None:
        self.documents = ProviderDocuments(fetcher, clock)
        self._fetcher = fetcher
        self._clock = clock
        self._known: Remembered[_Key, Identity] = Remembered(clock, most=_MOST_TOKENS)
        self._refused: Remembered[_Key, str] = Remembered(clock, most=_MOST_TOKENS)
        self.questions = Questions()

    async def access(self, provider: Provider, token: str) -> Identity:
        """Whom an access token is about. Raises `TokenRefused`, `ProviderUnavailable`.

        A provider that does not say which tokens are meant for the hub accepts none.
        """
        if not provider.accepts_something or len(token) > LONGEST_TOKEN:
            raise TokenRefused("size" if provider.accepts_something else "neither audience nor client_id configured")
        key = (provider, hashlib.sha256(token.encode()).digest())
        known = self._known.get(key)
        if known is not None:
            return known
        if not is_jws(token):
            return await self._asked(key, token)
        read = read_unverified(token)
        # Before the signature: what is wrong anyway must not make the hub ask anybody.
        identity = check_access_token(read.claims, provider, now=self._clock.now())
        await self._check_signature(provider, read)
        self._known.keep(key, identity, until=self._soon(identity, VERIFIED_MILLIS))
        return identity

    async def id_token(self, provider: Provider, token: str, *, nonce: str | None) -> Identity:
        """Who has just signed in at the provider. Raises `TokenRefused`, `ProviderUnavailable`."""
        return (await self.signed_in(provider, token, nonce=nonce))[0]

    async def signed_in(
        self, provider: Provider, token: str, *, nonce: str | None
    ) -> tuple[Identity, Mapping[str, Any]]:
        """As `id_token`, with all that the provider says of them."""
        read = read_unverified(token)
        if read.type != "jwt":
            raise TokenRefused("kind of token")
        identity = check_id_token(read.claims, provider, nonce=nonce, now=self._clock.now())
        await self._check_signature(provider, read)
        return identity, read.claims

    async def _check_signature(self, provider: Provider, token: Unverified) -> None:
        published = await self.documents.of(provider, key_id=token.key_id)
        if token.claims["iss"] != published.issuer:
            raise TokenRefused("issuer")
        published.keys.check(token)

    async def _asked(self, key: _Key, token: str) -> Identity:
        """As the provider says, about a token that only it can read; if the program lets it be asked."""
        provider = key[0]
        if not provider.userinfo or not SENDABLE.fullmatch(token):
            raise TokenRefused("form")
        reason = self._refused.get(key)
        if reason is not None:
            raise TokenRefused(reason)
        try:
            claims = await self._userinfo(provider, token)
            identity = check_userinfo(claims, provider, expires_at=Millis(self._clock.now() + USERINFO_MILLIS))
        except TokenRefused as refused:
            self._refused.keep(key, str(refused), until=Millis(self._clock.now() + USERINFO_REFUSED_MILLIS))
            raise
        self._known.keep(key, identity, until=identity.expires_at)
        return identity

    async def _userinfo(self, provider: Provider, token: str) -> Mapping[str, Any]:
        endpoint = (await self.documents.of(provider)).userinfo_endpoint
        if endpoint is None:
            raise TokenRefused("no userinfo endpoint")
        try:
            async with self.questions.to(endpoint):
                claims = await self._fetcher.get_json(endpoint, bearer=token)
        except FetchFailed as failed:
            if failed.status in (400, 401, 403):
                raise TokenRefused("userinfo") from failed
            raise ProviderUnavailable(headers={"Retry-After": RETRY_SECONDS}) from failed
        if not isinstance(claims, dict):
            raise TokenRefused("userinfo")
        return claims

    def _soon(self, identity: Identity, millis: int) -> Millis:
        return min(identity.expires_at, Millis(self._clock.now() + millis))
