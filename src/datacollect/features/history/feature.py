"""What the history slice plugs in."""

from datacollect.features.history.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="history", router=router)
