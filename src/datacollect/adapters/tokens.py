"""Signing in with OAuth 2 client credentials, sent as JSON: how registries of this field want them."""

import asyncio
import math
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, TypeGuard

import msgspec
from pydantic import SecretStr

from datacollect.adapters.calling import CallFailed, CallKind, refusal, send
from datacollect.kernel.clock import Clock, Millis
from datacollect.outgoing import GuardedClient

EARLY_SECONDS = 60.0
"""How long before its end a token is not used any more."""
_DEFAULT_SECONDS = 3600.0
_MOST_BYTES = 100_000
"""Of an answer. No token is so long, and nothing in it takes much room when it is decoded."""
_WHAT = "sign in"


class ClientCredentials:
    """Holds a token and gets a new one when it is about to end. Callers that come together share one request."""

    def __init__(
        self,
        client: GuardedClient,
        token_url: str,
        client_id: str,
        client_secret: SecretStr,
        clock: Clock,
        *,
        timeout_seconds: float = 30.0,
    ) -> None:
        self._client = client
        self._url = token_url
        self._id = client_id
        self._secret = client_secret
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._token: str | None = None
        self._use_until = Millis(0)
        self._one_at_a_time = asyncio.Lock()
        self.scopes: tuple[str, ...] = ()
        """What the latest token is good for, if the other system said so."""

    async def headers(self) -> Mapping[str, str]:
        """Raises `CallFailed`."""
        return {"authorization": f"Bearer {await self.token()}"}

    def forget(self, used: Mapping[str, str]) -> None:
        """Do not use it again, unless another one has taken its place meanwhile."""
        if self._token and used.get("authorization") == f"Bearer {self._token}":
            self._token = None

    async def token(self) -> str:
        if valid := self._valid():
            return valid
        async with self._one_at_a_time:
            return self._valid() or await self._fetch()

    def _valid(self) -> str | None:
        return self._token if self._clock.now() < self._use_until else None

    async def _fetch(self) -> str:
        asked = {
            "grant_type": "client_credentials",
            "client_id": self._id,
            "client_secret": self._secret.get_secret_value(),
        }
        answer = await send(
            self._client,
            "POST",
            self._url,
            what=_WHAT,
            json=asked,
            headers={"accept": "application/json"},
            max_bytes=_MOST_BYTES,
            timeout_seconds=self._timeout_seconds,
        )
        if answer.status in (400, 401, 403):  # RFC 6749 answers wrong credentials with any of them
            raise CallFailed(CallKind.AUTH, _WHAT, status=answer.status)
        if answer.status >= 400:
            refused = refusal(answer, _WHAT)
            if not refused.retryable:  # no record is named here: none is to be taken for refused, or for gone
                refused.kind, refused.is_passing = CallKind.REJECTED, True
            raise refused
        return self._keep(_granted(answer.body), self._clock.now())

    def _keep(self, granted: Mapping[str, Any], now: Millis) -> str:
        token = str(granted["access_token"])
        seconds = _seconds_left(token, granted, now)
        self._token = token
        # A token that is short-lived is used for half its life: it would never be used if 60 s were taken off.
        self._use_until = Millis(now + int(max(seconds - EARLY_SECONDS, seconds / 2, 0) * 1000))
        scope = granted.get("scope")
        self.scopes = tuple(scope.split()) if isinstance(scope, str) else ()
        return token


def _granted(body: bytes) -> Mapping[str, Any]:
    try:
        granted = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        granted = None
    if not (isinstance(granted, dict) and isinstance(granted.get("access_token"), str) and granted["access_token"]):
        raise CallFailed(CallKind.UNREADABLE, _WHAT)
    return granted


def _seconds_left(token: str, granted: Mapping[str, Any], now: Millis) -> float:
    """By the token itself, if it is one that says so; else by what came with it; else an hour.

    One that seems to have ended when it was given comes from a clock that is wrong by more than its life.
    """
    expiry = _claims(token).get("exp")
    if _is_number(expiry) and expiry > now / 1000:
        return float(expiry) - now / 1000
    lifetime = granted.get("expires_in")
    return float(lifetime) if _is_number(lifetime) else _DEFAULT_SECONDS


def _claims(token: str) -> Mapping[str, Any]:
    """Nothing is believed here: who made the token checks it, we only want to know when to ask for the next."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = msgspec.json.decode(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < 1e12
