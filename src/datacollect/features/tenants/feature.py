"""What the programs slice plugs in."""

from fastapi import APIRouter

from datacollect.features.tenants.routes import apps, artifacts
from datacollect.features.tenants.versions_routes import versions
from datacollect.http.feature import Feature

_router = APIRouter()
_router.include_router(apps)
_router.include_router(versions)
_router.include_router(artifacts)

FEATURE = Feature(name="tenants", router=_router)
