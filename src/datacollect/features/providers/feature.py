"""What the providers slice plugs in."""

from datacollect.features.providers.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="providers", router=router)
