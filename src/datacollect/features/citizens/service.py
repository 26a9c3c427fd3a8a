"""Citizens who are signed in. Source: the contract's self-service area, 2."""

from datacollect.kernel.errors import SelfServiceOnly, Unauthenticated
from datacollect.kernel.identity import Citizen
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tokens import TokenInvalid, Tokens


class CitizenGate:
    """Implements `Citizens`."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def citizen(self, authorization: str | None) -> Citizen:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated()
        try:
            claims = self._tokens.read_self_service(token.strip())
        except TokenInvalid:
            raise Unauthenticated() from None
        if claims is None:
            raise SelfServiceOnly()
        return Citizen(TenantId(claims.tenant_id), claims.entity_guid, claims.identifier, claims.session)
