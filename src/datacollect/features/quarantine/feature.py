"""What the quarantine slice plugs in."""

from datacollect.features.quarantine.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="quarantine", router=router)
