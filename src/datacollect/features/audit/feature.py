"""What the audit slice plugs in."""

from datacollect.features.audit.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="audit", router=router)
