"""What the devices slice plugs in."""

from datacollect.features.devices.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="devices", router=router)
