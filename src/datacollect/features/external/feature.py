"""What external synchronisation plugs in."""

from datacollect.features.external.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="external", router=router)
