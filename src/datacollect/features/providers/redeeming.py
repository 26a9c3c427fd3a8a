"""The hub as a client of a program's provider: codes for tokens, and what the provider says of whom they are about.

Sources: OpenID Connect Core 3.1.3 and 5.3; RFC 7523, 7636. It is what eSignet does: the client proves itself with a key
of its own, and userinfo is a signed token.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from datacollect.features.providers.documents import Fetcher, FetchFailed
from datacollect.features.providers.errors import Fault, ProviderUnavailable
from datacollect.features.providers.questions import RETRY_SECONDS
from datacollect.features.providers.verifying import SENDABLE, TokenVerifier
from datacollect.kernel.client_assertions import ASSERTION_TYPE, ClientKey, client_assertion
from datacollect.kernel.clock import Clock
from datacollect.kernel.jwks import LONGEST_TOKEN, is_jws, read_unverified
from datacollect.kernel.oidc import Code, Provider, Redeemed, TokenRefused, check_told_of

_log = structlog.get_logger(component="providers")

_OURS = frozenset({"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_assertion"})
"""Errors of a token endpoint that are about the client. The last one is eSignet's own."""

_REFUSALS = (400, 401, 403)


class CodeRedeemer:
    """Redeems what providers of citizens give out. One per process; nothing is remembered."""

    def __init__(self, fetcher: Fetcher, verifier: TokenVerifier, clock: Clock) -> None:
        self._fetcher = fetcher
        self._verifier = verifier
        self._clock = clock

    async def redeem(self, provider: Provider, code: Code, key: ClientKey) -> Redeemed:
        """Raises `TokenRefused` for a code that is good for nothing, and `ProviderUnavailable`."""
        endpoint = (await self._verifier.documents.of(provider)).token_endpoint
        if endpoint is None:
            raise self._unusable(provider, "token_endpoint is not where the authority is")
        client_id = provider.client_id or ""
        form = {
            "grant_type": "authorization_code",
            "code": code.code,
            "redirect_uri": code.redirect_uri,
            "client_id": client_id,
            "client_assertion_type": ASSERTION_TYPE,
        } | ({} if code.verifier is None else {"code_verifier": code.verifier})
        try:
            async with self._verifier.questions.to(endpoint):
                # Made only now: it is good for a minute, and the line may be long.
                proof = client_assertion(key, client_id, audience=endpoint, now=self._clock.now())
                told = await self._fetcher.post_form(endpoint, form | {"client_assertion": proof})
        except FetchFailed as failed:
            if failed.error in _OURS:
                raise self._unusable(provider, f"it does not take the client: {failed.error}") from None
            raise self._failed(provider, failed, "code") from None
        return self._read(provider, told)

    async def told_of(self, provider: Provider, access_token: str, *, subject: str) -> Mapping[str, Any]:
        """What the userinfo endpoint says of somebody. Raises `TokenRefused`, `ProviderUnavailable`.

        Claims that are not signed are the provider's because it is asked where its keys are, too.
        """
        if len(access_token) > LONGEST_TOKEN or not SENDABLE.fullmatch(access_token):
            raise TokenRefused("form of the access token")
        endpoint = (await self._verifier.documents.of(provider)).userinfo_endpoint
        if endpoint is None:
            raise self._unusable(provider, "userinfo_endpoint is not where the authority is")
        try:
            async with self._verifier.questions.to(endpoint):
                told = await self._fetcher.get_claims(endpoint, bearer=access_token)
        except FetchFailed as failed:
            raise self._failed(provider, failed, "userinfo") from None
        claims = await self._signed(provider, told) if isinstance(told, str) else told
        if not isinstance(claims, dict):
            raise self._unusable(provider, "userinfo is no object")
        check_told_of(claims, provider, subject=subject, now=self._clock.now())
        return claims

    async def _signed(self, provider: Provider, text: str) -> Mapping[str, Any]:
        if not is_jws(text):
            raise self._unusable(provider, "userinfo is encrypted, or no token")
        token = read_unverified(text)
        published = await self._verifier.documents.of(provider, key_id=token.key_id)
        published.keys.check(token)
        return token.claims

    def _read(self, provider: Provider, told: Any) -> Redeemed:
        members = told if isinstance(told, dict) else {}
        id_token, access_token = members.get("id_token"), members.get("access_token")
        if not isinstance(id_token, str) or not isinstance(access_token, str | None):
            raise self._unusable(provider, "it gives no ID token for a code")
        return Redeemed(id_token, access_token)

    def _failed(self, provider: Provider, failed: FetchFailed, what: str) -> Exception:
        if failed.status in _REFUSALS:
            return TokenRefused(what)
        _log.warning("provider.unavailable", authority=provider.authority, reason=str(failed))
        return ProviderUnavailable(headers={"Retry-After": RETRY_SECONDS}, fault=failed.fault)

    def _unusable(self, provider: Provider, reason: str) -> ProviderUnavailable:
        _log.warning("provider.unavailable", authority=provider.authority, reason=reason)
        return ProviderUnavailable(headers={"Retry-After": RETRY_SECONDS}, fault=Fault.WRONG)
