"""Citizens signing in and out. Source: the contract's self-service area, 3."""

import structlog
from fastapi import APIRouter

from datacollect.features.citizens import service
from datacollect.features.citizens.schemas import Done
from datacollect.http.hub import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import CurrentCitizen

_log = structlog.get_logger(component="citizens")

router = APIRouter(prefix="/api/auth", tags=["Self-Service"])


@router.post("/self-service/logout", summary="Sign out", responses=errors(401, 403))
async def logout(hub: CurrentHub, own: CurrentCitizen) -> Done:
    """Ends the sign-in the token belongs to: the token opens nothing any more."""
    scope = own.about(own.entity_guid)
    async with hub.db.transaction(scope) as tx:
        await service.sign_out(tx, scope, own.citizen, now=hub.clock.now())
    _log.info("citizen.signed_out", tenant_id=own.tenant_id)
    return Done(message="Signed out")
