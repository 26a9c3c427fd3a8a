"""What the attachments slice plugs in."""

from datacollect.features.attachments.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="attachments", router=router)
