"""What the security log plugs in."""

from datacollect.features.security_log.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="security_log", router=router)
