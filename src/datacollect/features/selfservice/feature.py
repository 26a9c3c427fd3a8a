"""What the self-service slice plugs in."""

from datacollect.features.selfservice.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="selfservice", router=router)
