"""What the reviews slice plugs in."""

from datacollect.features.reviews.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="reviews", router=router)
