"""Callers that an identity provider vouches for. Source: the contract's authentication area, 4, W6-W8."""

import unicodedata
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from datacollect.db import Database
from datacollect.features.providers.documents import Fetcher
from datacollect.features.providers.errors import ProviderLoginRefused, ProviderUnavailable
from datacollect.features.providers.model import provider_actor
from datacollect.features.providers.redeeming import CodeRedeemer
from datacollect.features.providers.verifying import TokenVerifier
from datacollect.features.tenants.asked import auth_configs
from datacollect.features.users import service as users
from datacollect.features.users.service import User
from datacollect.kernel.client_assertions import ClientKey
from datacollect.kernel.clock import Clock
from datacollect.kernel.errors import Unauthenticated
from datacollect.kernel.identity import Actor
from datacollect.kernel.ids import TenantId, UserId, is_config_id
from datacollect.kernel.oidc import Code, Identity, Provider, Redeemed, TokenRefused, provider_of
from datacollect.kernel.tenancy import Tenant, TenantDirectory

__all__ = ["ProviderGate", "TokenVerifier"]

_log = structlog.get_logger(component="providers")

_MOST_PROGRAMS = 1000


class ProviderGate:
    """Implements `IdentityProviders`. A program's providers are read once for each version of its config."""

    def __init__(
        self,
        database: Database,
        tenants: TenantDirectory,
        fetcher: Fetcher,
        clock: Clock,
        *,
        staff: Mapping[str, Provider] | None = None,
    ) -> None:
        """`staff` are the operator's own providers, by name: a program's never sign anybody in."""
        self.verifier = TokenVerifier(fetcher, clock)
        self._redeemer = CodeRedeemer(fetcher, self.verifier, clock)
        self._database = database
        self._tenants = tenants
        self._programs: OrderedDict[TenantId, tuple[str, Sequence[Provider]]] = OrderedDict()
        self._staff = staff or {}

    async def caller(self, tenant_id: TenantId, scheme: str, token: str) -> Actor:
        # What programs there are, and which of them run, is nothing that this answer may tell.
        tenant = await self._tenants.find(tenant_id) if is_config_id(tenant_id) else None
        if tenant is None or not token:
            raise Unauthenticated()
        away: ProviderUnavailable | None = None
        known = False
        for provider in await self._providers(tenant):
            if not provider.answers_to(scheme):
                continue
            known = True
            try:
                return await self._actor(tenant_id, provider, await self.verifier.access(provider, token))
            except TokenRefused as refused:
                _log.info("provider.token_refused", tenant_id=tenant_id, type=provider.type, reason=str(refused))
            except ProviderUnavailable as unavailable:
                away = unavailable
        if not known:
            _log.info("provider.token_refused", tenant_id=tenant_id, type=None, reason="no provider of that name")
        raise away or Unauthenticated()

    async def staff(self, name: str, token: str, *, nonce: str | None) -> UserId:
        provider = self._staff.get(name)
        if provider is None:
            _log.info("provider.login_refused", provider=None, reason="no provider of that name")
            raise ProviderLoginRefused()
        try:
            identity = await self.verifier.id_token(provider, token, nonce=nonce)
        except TokenRefused as refused:
            _log.info("provider.login_refused", provider=name, reason=str(refused))
            raise ProviderLoginRefused() from None
        user = await self._account(identity)
        if user is None:
            _log.info("provider.login_refused", provider=name, reason="no account of a verified e-mail")
            raise ProviderLoginRefused()
        return user.id

    async def citizen(self, provider: Provider, token: str, *, nonce: str | None) -> Mapping[str, Any]:
        _, claims = await self.verifier.signed_in(provider, token, nonce=nonce)
        return claims

    async def redeem(self, provider: Provider, code: Code, key: ClientKey) -> Redeemed:
        return await self._redeemer.redeem(provider, code, key)

    async def told_of(self, provider: Provider, access_token: str, *, subject: str) -> Mapping[str, Any]:
        return await self._redeemer.told_of(provider, access_token, subject=subject)

    async def _providers(self, tenant: Tenant) -> Sequence[Provider]:
        entry = self._programs.get(tenant.id)
        if entry is not None and entry[0] == tenant.version:
            return entry[1]
        async with self._database.reading() as view:
            configured = await auth_configs(view, tenant.id)
        found = [provider_of(one["type"], one["fields"]) for one in configured]
        providers = [provider for provider in found if provider is not None]
        self._programs[tenant.id] = (tenant.version, providers)
        if len(self._programs) > _MOST_PROGRAMS:
            self._programs.popitem(last=False)
        return providers

    async def _actor(self, tenant_id: TenantId, provider: Provider, identity: Identity) -> Actor:
        user = await self._account(identity)
        return provider_actor(tenant_id, provider, identity, None if user is None else user.to_actor())

    async def _account(self, identity: Identity) -> User | None:
        if identity.email is None:
            return None
        async with self._database.reading() as view:
            user = await users.find_user_by_email(view, identity.email)
        # Looking up folds letters that only look alike; of an address that another system vouches for, none may.
        return user if user is not None and _same_text(user.email, identity.email) else None


def _same_text(one: str, other: str) -> bool:
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
