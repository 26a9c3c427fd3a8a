"""What the users slice plugs in."""

from datacollect.features.users.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="users", router=router)
