"""What the sync slice plugs in."""

from datacollect.features.sync.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="sync", router=router, is_asked_most=True)
