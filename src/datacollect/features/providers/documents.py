"""What providers publish of themselves: their names, addresses and keys, fetched seldom and kept long.

Whoever sends a token chooses the key it names, so nothing here may happen as often as tokens come.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from datacollect.features.providers.errors import Fault, ProviderUnavailable
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.jwks import PublicKeys
from datacollect.kernel.oidc import Provider, TokenRefused, same_issuer, same_origin

_log = structlog.get_logger(component="providers")

FRESH_MILLIS = 600_000
"""Keys are fetched again after this; a key that its provider withdraws is good for no longer."""

STALE_MILLIS = 24 * 3_600_000
"""How long known keys serve while the provider is away."""

REFETCH_MILLIS = 30_000
"""Between two fetches because of keys that are not known."""

RETRY_MILLIS = 10_000
"""Between two attempts to reach a provider that is away."""

_MOST_PROVIDERS = 1000


class FetchFailed(Exception):
    """No document: the provider is away, answers with an error, or with what is no JSON. The argument says which."""

    def __init__(
        self, reason: str, status: int | None = None, *, fault: Fault = Fault.AWAY, error: str | None = None
    ) -> None:
        super().__init__(reason)
        self.fault = fault
        self.error = error
        """The word that it has for what is wrong: anything, and not for logs."""
        self.status = status
        """What it answered, if it did."""


class Fetcher(Protocol):
    async def get_json(self, url: str, *, bearer: str | None = None) -> Any:
        """The document there, within a few seconds and of a bounded size. Raises `FetchFailed`."""

    async def get_claims(self, url: str, *, bearer: str) -> Any:
        """As `get_json`; the text of a token for what calls itself one (`application/jwt`)."""

    async def post_form(self, url: str, fields: Mapping[str, str]) -> Any:
        """The JSON that is answered to a form. Raises `FetchFailed`, with the `error` that OAuth has for it."""


@dataclass(frozen=True, slots=True)
class Published:
    """What a provider says of itself."""

    issuer: str
    """To the letter as its tokens have it."""
    keys: PublicKeys
    userinfo_endpoint: str | None
    token_endpoint: str | None
    fetched_at: Millis


@dataclass(slots=True)
class _Source:
    published: Published | None = None
    tried_at: Millis | None = None
    fault: Fault = Fault.AWAY
    """Of the last attempt that failed."""
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class ProviderDocuments:
    """Discovery documents and keys of all providers. One per process."""

    def __init__(self, fetcher: Fetcher, clock: Clock) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._sources: OrderedDict[tuple[str, str], _Source] = OrderedDict()

    async def of(self, provider: Provider, *, key_id: str | None = None) -> Published:
        """What the provider publishes, with the key of that id if it has one. Raises `ProviderUnavailable`."""
        source = self._source(provider)
        if self._is_due(source, key_id) and not (source.asking.locked() and self._has_key(source, key_id)):
            # Of all who come meanwhile one asks; the others wait for the answer, unless they have what they need.
            async with source.asking:
                if self._is_due(source, key_id):
                    await self._ask(source, provider)
        published = source.published
        if published is None or not self._serves(source, key_id):
            raise ProviderUnavailable(headers={"Retry-After": str(RETRY_MILLIS // 1000)}, fault=source.fault)
        return published

    def _source(self, provider: Provider) -> _Source:
        key = (provider.authority, provider.issuer)
        source = self._sources.setdefault(key, _Source())
        self._sources.move_to_end(key)
        if len(self._sources) > _MOST_PROVIDERS:
            self._sources.popitem(last=False)
        return source

    def _is_due(self, source: _Source, key_id: str | None) -> bool:
        """Whether the provider is to be asked now."""
        if source.published is not None and self._is_younger(source.published.fetched_at, FRESH_MILLIS):
            return not (source.published.keys.knows(key_id) or self._is_younger(source.tried_at, REFETCH_MILLIS))
        return not self._is_younger(source.tried_at, RETRY_MILLIS)

    def _serves(self, source: _Source, key_id: str | None) -> bool:
        """Whether a token can be judged by what is known: by stale keys only one of these very keys."""
        published = source.published
        if published is None or not self._is_younger(published.fetched_at, STALE_MILLIS):
            return False
        return self._is_younger(published.fetched_at, FRESH_MILLIS) or published.keys.knows(key_id)

    def _has_key(self, source: _Source, key_id: str | None) -> bool:
        """As `_serves`, by the very key that was named: one that is not known yet may be in the answer."""
        published = source.published
        return published is not None and published.keys.knows(key_id) and self._serves(source, key_id)

    def _is_younger(self, moment: Millis | None, millis: int) -> bool:
        return moment is not None and 0 <= self._clock.now() - moment < millis

    async def _ask(self, source: _Source, provider: Provider) -> None:
        try:
            source.published = await self._fetched(provider)
        except (FetchFailed, TokenRefused) as failed:
            source.fault = failed.fault if isinstance(failed, FetchFailed) else Fault.WRONG
            _log.warning("provider.unavailable", authority=provider.authority, reason=str(failed))
        finally:
            source.tried_at = self._clock.now()

    async def _fetched(self, provider: Provider) -> Published:
        about = await self._fetcher.get_json(f"{provider.authority}/.well-known/openid-configuration")
        if not isinstance(about, dict) or not same_issuer(about.get("issuer"), provider.issuer):
            raise FetchFailed("the discovery document is of another issuer", fault=Fault.WRONG)
        # Elsewhere could be inside our network, or somebody else's keys.
        jwks_uri = about.get("jwks_uri")
        if not isinstance(jwks_uri, str) or not same_origin(jwks_uri, provider.authority):
            raise FetchFailed("jwks_uri is not where the authority is", fault=Fault.WRONG)
        userinfo, token = (_address(about, name, provider) for name in ("userinfo_endpoint", "token_endpoint"))
        keys = PublicKeys.read(await self._fetcher.get_json(jwks_uri))
        if not keys.keys:
            raise FetchFailed("there is no key that can be used", fault=Fault.WRONG)
        return Published(about["issuer"], keys, userinfo, token, self._clock.now())


def _address(about: Mapping[str, Any], name: str, provider: Provider) -> str | None:
    address = about.get(name)
    return address if isinstance(address, str) and same_origin(address, provider.authority) else None
