"""What the entities slice plugs in."""

from fastapi import APIRouter

from datacollect.features.entities.finding.routes import router as finding
from datacollect.features.entities.routes import router
from datacollect.http.feature import Feature

_routes = APIRouter()
_routes.include_router(finding)
_routes.include_router(router)

FEATURE = Feature(name="entities", router=_routes)
