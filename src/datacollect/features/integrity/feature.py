"""What the integrity slice plugs in."""

from datacollect.features.integrity.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="integrity", router=router)
