"""What the conflicts slice plugs in."""

from datacollect.features.conflicts.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="conflicts", router=router)
