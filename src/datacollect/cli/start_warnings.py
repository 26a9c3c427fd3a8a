"""What `serve` warns of once, for all its processes, before it listens: the hub starts all the same."""

import structlog

from datacollect.db import EVERY_TENANT
from datacollect.features.integrity.service import behind_anchors
from datacollect.features.tenants.asked import running_without_log
from datacollect.http.cors import never_sent
from datacollect.http.hub import Hub
from datacollect.settings import Settings

_ENVIRONMENTS = (None, "production", "development", "test")

_NAMED = 20
"""How many programs a line names; it counts all of them."""

_WITHOUT_LOG = (
    "These programs run and have no log: every push to them is refused. If the database was put back from a backup, that was made"
    " without the programs' data: stop the hub, and put back another one. See docs/how-to/restore-a-backup.md."
)

_ENVIRONMENT_UNKNOWN = (
    "NODE_ENV is none of production, development and test, so it counts as unset: none of the checks for production are on."
    " Write it exactly so, in lower case."
)

_CODES_TOLD = (
    "The hub returns a citizen's code to whoever asks for it, so anybody can sign in as any citizen. Remove OTP_EXPOSE_DEV_CODE"
    " wherever the data is of real people."
)

_BEHIND = (
    "According to the anchors in DATA_DIR these logs were longer than they are in the database: it is another database, was"
    " restored from a backup, or has lost its last writes (hub.sqlite3-wal). If it should hold more, stop the hub and look for the"
    " rest before devices sync. If it was restored, run `datacollect restored`: docs/how-to/restore-a-backup.md. The warning"
    " ends when you move the anchor files away, as that page says."
)

_NEVER_SENT = (
    "No browser sends these of CORS_ORIGINS as an origin, so they let no page in. An origin is a scheme and a host in lower case,"
    " with the port if it is not the usual one, and nothing after it, such as https://hub.example.org."
)

_log = structlog.get_logger(component="server")


def warn_of_settings(settings: Settings) -> None:
    if settings.node_env not in _ENVIRONMENTS:
        _log.warning("environment.unknown", node_env=settings.node_env, taken_for="unset", help=_ENVIRONMENT_UNKNOWN)
    if settings.otp_expose_dev_code:
        _log.warning("otp.told_to_who_asks", help=_CODES_TOLD)
    if (settings.cors_origins or "").strip() == "*":
        _log.warning("cors.open_to_all_origins")
    if never := never_sent(settings.cors_origins):
        _log.warning("cors.origins_never_sent", origins=never[:_NAMED], help=_NEVER_SENT)
    if (settings.trust_proxy or "").strip() == "true":
        _log.warning("proxy.any_address_believed", advice="set TRUST_PROXY to the number of proxies in front")


async def warn_of_data(hub: Hub) -> None:
    async with hub.db.reading(EVERY_TENANT) as view:
        without_log = await running_without_log(view)
        behind = await behind_anchors(view, hub.settings.data_dir)
    if without_log:
        _log.warning(
            "programs.without_log", programs=len(without_log), tenant_ids=without_log[:_NAMED], help=_WITHOUT_LOG
        )
    if behind:
        _log.warning("logs.behind_their_anchors", programs=len(behind), tenant_ids=behind[:_NAMED], help=_BEHIND)
