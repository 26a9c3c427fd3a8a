"""Is the hub there, and can it work? Public, without parameters, cheap enough to be asked every second."""

from fastapi import APIRouter

from datacollect.features.health.schemas import Health, Liveness
from datacollect.http.current import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import PUBLIC
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.errors import Unavailable

router = APIRouter(tags=["Meta"], dependencies=[PUBLIC])

_DEGRADED = errors(texts={503: "The database cannot be reached; `status` is `degraded`, `database` is `disconnected`."})


@router.get(
    "/health",
    summary="Health of the hub",
    description="Runs one statement on the database. 503 with `status: degraded` while that fails.",
    response_model=Health,
    responses=_DEGRADED,
)
async def get_health(hub: CurrentHub) -> Health:
    try:
        await hub.db.check()
    except Unavailable as away:
        timestamp = format_timestamp(hub.clock.now())
        raise Unavailable(status="degraded", database="disconnected", timestamp=timestamp) from away
    return Health(timestamp=format_timestamp(hub.clock.now()))


@router.get(
    "/health/live",
    summary="Liveness",
    description="200 as long as the process answers at all; restart it when this fails. Asks nobody else.",
    response_model=Liveness,
)
async def get_liveness() -> Liveness:
    return Liveness()


router.add_api_route(
    "/health/ready",
    get_health,
    methods=["GET"],
    summary="Readiness",
    description="Whether requests should be sent here: 200 when the database answers, else 503.",
    response_model=Health,
    responses=_DEGRADED,
    operation_id="getReadiness",
)
