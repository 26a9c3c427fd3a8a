"""What the reviews slice plugs in."""

from fastapi import APIRouter

from datacollect.features.reviews.deciding_routes import router as deciding
from datacollect.features.reviews.policies_routes import router as policies
from datacollect.features.reviews.routes import router
from datacollect.http.feature import Feature

_routes = APIRouter()
for _part in (policies, router, deciding):
    _routes.routes.extend(_part.routes)

FEATURE = Feature(name="reviews", router=_routes)
