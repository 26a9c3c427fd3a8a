"""What the citizens slice plugs in."""

from datacollect.features.citizens.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="citizens", router=router)
"""`CitizenGate` guards the routes of citizens."""
