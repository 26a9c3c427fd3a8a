"""The hub as a server: the routes of every slice, the middleware in front of them, and what goes on beside requests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager

import structlog
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from datacollect.assembly import create_hub
from datacollect.db import Database
from datacollect.db.migrate import is_up_to_date, migrate
from datacollect.db.walls import tenant_tables
from datacollect.features.attachments import feature as attachments
from datacollect.features.attachments.contents.collecting import CollectRounds
from datacollect.features.attachments.service import programs_with_attachments
from datacollect.features.audit import feature as audit
from datacollect.features.auth import feature as auth
from datacollect.features.citizens import feature as citizens
from datacollect.features.conflicts import feature as conflicts
from datacollect.features.devices import feature as devices
from datacollect.features.discovery import feature as discovery
from datacollect.features.duplicates import feature as duplicates
from datacollect.features.duplicates.detecting import enqueue_behind
from datacollect.features.entities import feature as entities
from datacollect.features.entities.indexing.reindexing import enqueue_missing
from datacollect.features.exports import feature as exports
from datacollect.features.external import feature as external
from datacollect.features.forms import feature as forms
from datacollect.features.health import feature as health
from datacollect.features.history import feature as history
from datacollect.features.integrity import feature as integrity
from datacollect.features.messages import feature as messages
from datacollect.features.providers import feature as providers
from datacollect.features.purging import feature as purging
from datacollect.features.quarantine import feature as quarantine
from datacollect.features.reviews import feature as reviews
from datacollect.features.reviews.rounds import ReviewRounds
from datacollect.features.security_log import feature as security_log
from datacollect.features.selfservice import feature as selfservice
from datacollect.features.sync import feature as sync
from datacollect.features.tenants import feature as tenants
from datacollect.features.tenants.adoption import adopt, locked_programs
from datacollect.features.tenants.asked import count_sending_codes
from datacollect.features.users import feature as users
from datacollect.features.users.service import ensure_first_admin
from datacollect.http.cors import Cors, parse_origins
from datacollect.http.crossroads import Crossroads
from datacollect.http.errors import install_error_handlers
from datacollect.http.frame import RequestFrame
from datacollect.http.guard import RequestGuard
from datacollect.http.heads import HeadAsGet
from datacollect.http.hub import Hub
from datacollect.http.limits import RequestLimits
from datacollect.http.pages import ApiDescription
from datacollect.http.pages import router as pages
from datacollect.http.policy import require_policies
from datacollect.http.proxy import ClientAddress, trust_rule
from datacollect.http.receiving import BodyMemory
from datacollect.jobs import going_round
from datacollect.kernel.clock import Clock
from datacollect.kernel.errors import StartupError, Unavailable
from datacollect.logs import reason_of
from datacollect.objects import StorageUnavailable
from datacollect.settings import Settings

FEATURES = (
    health.FEATURE,
    security_log.FEATURE,
    tenants.FEATURE,
    users.FEATURE,
    auth.FEATURE,
    providers.FEATURE,
    messages.FEATURE,
    entities.FEATURE,
    citizens.FEATURE,
    audit.FEATURE,
    history.FEATURE,
    conflicts.FEATURE,
    integrity.FEATURE,
    forms.FEATURE,
    attachments.FEATURE,
    exports.FEATURE,
    devices.FEATURE,
    sync.FEATURE,
    duplicates.FEATURE,
    quarantine.FEATURE,
    external.FEATURE,
    reviews.FEATURE,
    purging.FEATURE,
    discovery.FEATURE,
    selfservice.FEATURE,
)
"""In this order: a slice may call the `service.py` of those before it."""

_log = structlog.get_logger(component="app")

_BYPASSED = (
    "The database's user is a superuser or has BYPASSRLS, so PostgreSQL does not keep programs apart a second time."
    " Give the hub a user of its own: docs/how-to/run-on-postgresql.md."
)

_NOT_ON_DISK = (
    "The database answers commits before they are on disk, or cannot repair half-written pages: after a crash of its machine"
    " answered pushes, or the database, may be lost. Switch on the settings that `off` names: synchronous_commit for the server,"
    " the database or the hub's user, the others for the server."
)

_LOCKED = (
    "Secrets of programs were sealed with a key that this hub does not have. Set SECRETS_KEY_PREVIOUS to that key: the old"
    " SECRETS_KEY, or the old JWT_SECRET if there was none. See docs/how-to/rotate-the-secrets-key.md."
)

_NO_WAY_OUT = (
    "Programs let citizens sign in by codes, and this hub has no way to send them. Set SMTP_URL or SMS_GATEWAY_URL:"
    " docs/how-to/send-codes-by-mail-and-sms.md."
)

_NO_STORAGE = (
    "Requests for attachments are answered 503 until the store is back; sync still works. Check S3_ENDPOINT, S3_BUCKET and its keys,"
    " or the rights of ATTACHMENTS_DIR: docs/how-to/store-attachments-in-s3.md."
)

_ANOTHER_STORAGE = (
    "Of the attachments that the database names none of those looked for is in their store. If it is another one (a volume that"
    " is not mounted, a wrong S3_BUCKET or S3_PREFIX), stop the hub before anything is sent to it:"
    " docs/how-to/check-attachments.md."
)

_STORAGE_SECONDS = 5
"""A store that takes the question and does not answer it would else keep the hub from starting for as long as it likes."""
_NOT_IN_LINE = (
    "Nothing can be stored just now; what can be read is answered. The search index and the look for duplicates catch up some"
    " minutes after there is room again: docs/how-to/when-something-is-wrong.md."
)

_UPGRADED = (
    "A newer release has changed the database's tables. This process goes on by its own rules, and may answer 500 to what does"
    " not fit them: end it, or replace it by the newer release. Nothing that was answered is lost."
)

_ROUND_SECONDS = 300
_UPGRADED_SECONDS = 30

_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI would tell whatever OpenTelemetry is set up in the process what exceptions say and where requests went, and so
what the hub's own log leaves out. To ask about that at every request costs a fortieth of a small one."""

_ON_CONSOLE = "MESSAGE_CONSOLE prints codes where the hub runs: whoever reads that can sign in as anybody."


def create_app(settings: Settings, *, clock: Clock | None = None) -> FastAPI:
    """The hub as an ASGI application; it is prepared when its lifespan begins, and closed when that ends."""
    hub = create_hub(settings, clock=clock)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            with _telling():
                await prepare(hub)
            async with hub.devices.running(), hub.jobs.running(), rounds(hub), sealing(hub):
                async with hub.indexes.running(), hub.listings.running():
                    yield
        finally:
            await hub.others.aclose()
            await hub.outgoing.aclose()
            await hub.urgent.aclose()
            await hub.objects.aclose()
            await hub.anchorer.finish()
            hub.duplicates.stop()
            await hub.db.close()

    app = FastAPI(
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    app.state.hub = hub
    app.state.description = ApiDescription(app)
    install_error_handlers(app)
    _add_middleware(app, hub)
    # Not by `include_router`: it builds every route once more for each application, and looks for each request's twice.
    for feature in sorted(FEATURES, key=lambda feature: (not feature.is_asked_most, not feature.goes_first)):
        if feature.router and feature.is_offered(settings):
            app.router.routes.extend(feature.router.routes)
    app.router.routes.extend(pages.routes)
    app.router.middleware_stack = HeadAsGet(Crossroads(app.router), app.router)
    require_policies(app)
    return app


@contextlib.asynccontextmanager
async def rounds(hub: Hub) -> AsyncIterator[None]:
    """Look for what has come due, now and then, while the block lasts."""
    async with contextlib.AsyncExitStack() as going:
        if hub.settings.rounds:
            await going.enter_async_context(CollectRounds(hub.db, hub.clock, programs_with_attachments).running())
            await going.enter_async_context(LateStart(hub).running())
            await going.enter_async_context(Outdated(hub.db).running())
            await going.enter_async_context(ReviewRounds(hub.db, hub.clock).running())
        yield


def sealing(hub: Hub) -> AbstractAsyncContextManager[None]:
    return hub.sealer.running() if hub.settings.seal_segments else contextlib.nullcontext()


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    """Of a process that replaces another nobody else tells why it cannot start: the server has a trace with people's data in
    it, and of that the log keeps the first line."""
    try:
        yield
    except Exception as error:
        _log.error("app.not_started", exc_info=error)
        raise


async def prepare(hub: Hub) -> None:
    """What must be there before the first request: the schema and an administrator. Harmless when they are."""
    await migrate(hub.db)
    if unguarded := await hub.db.unguarded(tenant_tables()):
        _log.warning("database.row_security_bypassed", tables=len(unguarded), help=_BYPASSED)
    if spared := await hub.db.spared_the_disk():
        _log.warning("database.commits_not_on_disk", off=spared, help=_NOT_ON_DISK)
    await _open_secrets(hub)
    await _open_storage(hub)
    await _tell_of_messages(hub)
    settings = hub.settings
    if hub.db.dialect == "postgresql" and not settings.row_level_security:
        _log.warning("database.row_security_off")
    try:
        await put_in_line(hub)
    except Unavailable as error:
        _log.warning("jobs.not_put_in_line", reason=reason_of(error), help=_NOT_IN_LINE)
    if settings.admin_email and settings.admin_password:
        async with hub.db.transaction() as tx:
            await ensure_first_admin(
                tx,
                email=settings.admin_email,
                password=settings.admin_password.get_secret_value(),
                strict=settings.guessable_passwords_refused,
                now=hub.clock.now(),
            )


async def put_in_line(hub: Hub) -> None:
    """Have the search index and the look for duplicates catch up with what is stored. Raises `Unavailable`."""
    if hub.settings.search_index:
        await enqueue_missing(hub.db, hub.clock.now)
    if hub.settings.duplicate_detection:
        await enqueue_behind(hub.db, hub.clock.now)


class LateStart:
    """Does what the start could not do because nothing could be stored, now and then, until it has been possible once."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._is_done = False

    def running(self) -> AbstractAsyncContextManager[None]:
        return going_round(self.look, seconds=_ROUND_SECONDS, name="app")

    async def look(self) -> None:
        if not self._is_done:
            await put_in_line(self._hub)
            self._is_done = True


class Outdated:
    """Says once that another process has brought the database to a newer release: on another machine, say, where this one was
    forgotten. Nothing else would, though half of what devices send may be answered 500."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._is_told = False

    def running(self) -> AbstractAsyncContextManager[None]:
        return going_round(self.look, seconds=_UPGRADED_SECONDS, name="app")

    async def look(self) -> None:
        if self._is_told:
            return
        try:
            await is_up_to_date(self._db)
        except StartupError:
            self._is_told = True
            _log.error("database.upgraded", help=_UPGRADED)


async def _open_secrets(hub: Hub) -> None:
    """Seal what is not sealed yet, and say so if what is sealed cannot be opened."""
    if adopted := await adopt(hub.db, hub.seals):
        _log.info("programs.adopted", programs=adopted)
    if locked := await locked_programs(hub.db, hub.seals):
        _log.warning("secrets.cannot_be_opened", programs=len(locked), help=_LOCKED)


async def _tell_of_messages(hub: Hub) -> None:
    """Say so if codes reach nobody, or everybody who reads what the hub prints."""
    settings = hub.settings
    if not settings.sends_codes:
        async with hub.db.reading() as view:
            programs = await count_sending_codes(view)
        if programs:
            _log.warning("messages.no_way_out", programs=programs, help=_NO_WAY_OUT)
    printed = [channel.value for channel, kind in hub.messages.channels.items() if kind == "console"]
    if printed and settings.production:
        _log.warning("messages.on_console", channels=printed, help=_ON_CONSOLE)


async def _open_storage(hub: Hub) -> None:
    """Make room of what uploads left behind that were cut by a crash, and say so if attachments cannot be reached, or
    are not there.

    The hub starts all the same: to sync goes before photos.
    """
    if left := await hub.spool.clean():
        _log.info("spool.cleaned", files=left)
    with contextlib.suppress(StorageUnavailable, TimeoutError):
        async with asyncio.timeout(_STORAGE_SECONDS):
            await hub.objects.health()
            if await hub.contents.has_none():
                _log.warning("storage.has_none", store=hub.settings.attachments_store, help=_ANOTHER_STORAGE)
        return
    _log.warning("storage.unreachable", store=hub.settings.attachments_store, help=_NO_STORAGE)


def _add_middleware(app: FastAPI, hub: Hub) -> None:
    """From the inside out: each one sees what the ones before it do."""
    settings = hub.settings
    memory = BodyMemory(settings.body_memory * 1024 * 1024)
    app.add_middleware(RequestGuard, development=settings.development, memory=memory)
    app.add_middleware(
        RequestLimits,
        clock=hub.clock,
        requests_per_minute=settings.request_rate_limit,
        account_at_once=settings.account_requests_at_once,
        at_once=settings.requests_at_once,
        visitors=hub.visitors,
        working=hub.working,
        is_own_token=hub.tokens.is_own,
    )
    app.add_middleware(Cors, origins=parse_origins(settings.cors_origins))
    app.add_middleware(RequestFrame)
    trusted = trust_rule(settings.trust_proxy)
    if trusted is not None:
        app.add_middleware(ClientAddress, trusted=trusted)
