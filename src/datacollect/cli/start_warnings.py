"""What `serve` warns of once, for all its processes, before it listens: the hub starts all the same."""

import structlog

from datacollect.db import EVERY_TENANT
from datacollect.features.tenants.asked import running_without_log
from datacollect.http.hub import Hub
from datacollect.settings import Settings

_NAMED = 20
"""How many programs a line names; it counts all of them."""

_WITHOUT_LOG = (
    "These programs run and have no log: every push to them is refused. If the database was put back from a backup, that was made"
    " without the programs' data: stop the hub, and put back another one. See docs/how-to/restore-a-backup.md."
)

_log = structlog.get_logger(component="server")


def warn_of_settings(settings: Settings) -> None:
    if (settings.cors_origins or "").strip() == "*":
        _log.warning("cors.open_to_all_origins")
    if (settings.trust_proxy or "").strip() == "true":
        _log.warning("proxy.any_address_believed", advice="set TRUST_PROXY to the number of proxies in front")


async def warn_of_data(hub: Hub) -> None:
    async with hub.db.reading(EVERY_TENANT) as view:
        without_log = await running_without_log(view)
    if without_log:
        _log.warning(
            "programs.without_log", programs=len(without_log), tenant_ids=without_log[:_NAMED], help=_WITHOUT_LOG
        )
