"""What the exports slice plugs in."""

from datacollect.features.exports.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="exports", router=router, goes_first=True)
"""`/api/entities/export` would else be the entity of that guid."""
