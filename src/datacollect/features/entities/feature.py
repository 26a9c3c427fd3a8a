"""What the entities slice plugs in."""

from fastapi import APIRouter

from datacollect.features.entities.finding.routes import router as finding
from datacollect.features.entities.routes import router
from datacollect.http.feature import Feature

_routes = APIRouter()
for _part in (finding, router):
    _routes.routes.extend(_part.routes)

FEATURE = Feature(name="entities", router=_routes)
