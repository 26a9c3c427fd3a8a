"""What the entities slice plugs in."""

from datacollect.features.entities.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="entities", router=router)
