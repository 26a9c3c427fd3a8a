"""Citizens who are signed in. Source: the contract's self-service area, 2; its weak points R1 and R12."""

import msgspec

from datacollect.db import Database, Tx
from datacollect.features.citizens import queries
from datacollect.features.citizens.errors import SelfServiceDisabled
from datacollect.features.citizens.model import Holder, comparable, factor_hashes, still_holds
from datacollect.features.entities.service import current_data_and
from datacollect.features.tenants import asked as tenants
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.errors import SelfServiceOnly, Unauthenticated
from datacollect.kernel.identity import Citizen, TenantScope
from datacollect.kernel.ids import TenantId, is_config_id, new_guid
from datacollect.kernel.peppers import Peppers
from datacollect.kernel.tenancy import SelfServiceRules, SignIn, Tenant, TenantDirectory, login_factors
from datacollect.kernel.tokens import ACCESS_SECONDS, SelfServiceClaims, TokenInvalid, Tokens

__all__ = ["CitizenGate", "begin_session", "comparable", "login_factors", "require_program", "rules_of", "sign_out"]

_hashes = msgspec.json.Decoder(dict[str, str])


class CitizenGate:
    """Implements `Citizens`."""

    def __init__(
        self, database: Database, tenants: TenantDirectory, tokens: Tokens, peppers: Peppers, clock: Clock
    ) -> None:
        self._database = database
        self._tenants = tenants
        self._tokens = tokens
        self._peppers = peppers
        self._clock = clock

    async def citizen(self, authorization: str | None) -> Citizen:
        claims = self._claims(authorization)
        rules = await self._rules(claims.tenant_id)
        citizen = Citizen(TenantId(claims.tenant_id), claims.entity_guid, claims.identifier, claims.session)
        method = await self._method(citizen)
        if method not in rules.methods:
            raise SelfServiceDisabled()
        return citizen

    def _claims(self, authorization: str | None) -> SelfServiceClaims:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated()
        try:
            claims = self._tokens.read_self_service(token.strip())
        except TokenInvalid:
            raise Unauthenticated() from None
        if claims is None:
            raise SelfServiceOnly()
        return claims

    async def _rules(self, tenant_id: str) -> SelfServiceRules:
        return rules_of(await self._tenants.find(TenantId(tenant_id)) if is_config_id(tenant_id) else None)

    async def _method(self, citizen: Citizen) -> str:
        """How they have signed in; in one statement with all that makes a sign-in last. Raises `Unauthenticated`."""
        scope = citizen.own_record().about(citizen.entity_guid)
        session = queries.method_and_factors(scope, citizen.session, citizen.entity_guid, now=self._clock.now())
        async with self._database.reading(scope) as view:
            found = await current_data_and(view, scope, citizen.entity_guid, *session)
        if found is None:
            raise Unauthenticated()
        data, (method, factors) = found
        if method is None or not still_holds(self._peppers, citizen.tenant_id, _hashes.decode(factors), data):
            raise Unauthenticated()
        return str(method)


def rules_of(tenant: Tenant | None, method: SignIn | None = None) -> SelfServiceRules:
    """What the program lets citizens do. Raises `SelfServiceDisabled`, also where it does not offer that sign-in."""
    rules = None if tenant is None else tenant.self_service
    if rules is None or (method is not None and method not in rules.methods):
        raise SelfServiceDisabled()
    return rules


async def require_program(tx: Tx, scope: TenantScope) -> None:
    """To be asked first of all in `tx`: until it ends nobody purges the program, and leaves behind what is written here.

    Raises `SelfServiceDisabled`.
    """
    if not await tenants.hold(tx, scope):
        raise SelfServiceDisabled()


async def begin_session(
    tx: Tx,
    scope: TenantScope,
    tokens: Tokens,
    peppers: Peppers,
    holder: Holder,
    *,
    method: SignIn,
    identifier: str,
    now: Millis,
) -> str:
    """Sign somebody in, and give their token. `identifier` is what they have signed in with, as it was typed."""
    session_id = new_guid()
    await queries.insert_session(
        tx,
        scope,
        session_id,
        holder.guid,
        method=method.value,
        factor_hashes=factor_hashes(peppers, scope.tenant_id, holder.factors),
        now=now,
        expires_at=Millis(now + ACCESS_SECONDS * 1000),
    )
    await queries.forget_sessions(tx, scope, now=now)
    return tokens.self_service(SelfServiceClaims(scope.tenant_id, holder.guid, identifier, session_id))


async def sign_out(tx: Tx, scope: TenantScope, citizen: Citizen, *, now: Millis) -> bool:
    """End the sign-in; False when it had ended before."""
    return await queries.end_session(tx, scope, citizen.session, now=now)
