"""What the outbox plugs in."""

from datacollect.features.messages.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="messages", router=router)
