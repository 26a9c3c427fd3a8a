"""What the programs slice plugs in."""

from fastapi import APIRouter

from datacollect.features.tenants.artifacts_routes import artifacts
from datacollect.features.tenants.routes import apps
from datacollect.features.tenants.versions_routes import versions
from datacollect.http.feature import Feature

_router = APIRouter()
for _part in (apps, versions, artifacts):
    _router.routes.extend(_part.routes)

FEATURE = Feature(name="tenants", router=_router)
