from datacollect.features.health.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="health", router=router)
