"""What the duplicates slice plugs in."""

from datacollect.features.duplicates.routes import router
from datacollect.http.feature import Feature

FEATURE = Feature(name="duplicates", router=router)
"""`DetectingHandler` and `Watcher` look for pairs behind the log; `follow_decisions` is told what events decide."""
