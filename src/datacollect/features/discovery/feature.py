"""What the discovery slice plugs in."""

from datacollect.features.discovery.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="discovery", router=router)
