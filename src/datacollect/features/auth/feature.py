"""What the auth slice plugs in."""

from datacollect.features.auth.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="auth", router=router)
