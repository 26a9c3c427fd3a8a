"""What the forms slice plugs in."""

from datacollect.features.forms.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="forms", router=router)
