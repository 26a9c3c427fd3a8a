"""What purging plugs in, where it is allowed."""

from datacollect.features.purging.routes import router
from datacollect.http.feature import Feature
from datacollect.settings import Settings


def _is_offered(settings: Settings) -> bool:
    return settings.purge_offered


FEATURE = Feature(name="purging", router=router, is_offered=_is_offered)
