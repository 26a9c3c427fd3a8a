"""The composition root: the one file that knows every part."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import structlog
from fastapi import FastAPI

from datacollect.adapters.registry import installed
from datacollect.db import Database, open_database
from datacollect.db.migrate import migrate
from datacollect.db.walls import tenant_tables
from datacollect.eventstore.anchorer import Anchorer
from datacollect.eventstore.log import EventLog, OnGrowth
from datacollect.eventstore.pages import Pages
from datacollect.eventstore.sealer import Sealer
from datacollect.eventstore.store import EventStore, Head
from datacollect.features.attachments import feature as attachments
from datacollect.features.attachments.contents.collecting import CollectHandler, CollectRounds
from datacollect.features.attachments.contents.keeping import Contents
from datacollect.features.attachments.service import Keeper, programs_with_attachments
from datacollect.features.attachments.tidying import Tidier
from datacollect.features.attachments.transfer import AttachmentExporter, AttachmentImporter
from datacollect.features.audit import feature as audit
from datacollect.features.audit.reading import ReadAuditor
from datacollect.features.audit.service import keep_entries
from datacollect.features.auth import feature as auth
from datacollect.features.auth.attempts import Throttle
from datacollect.features.auth.service import TokenAuthenticator
from datacollect.features.citizens import feature as citizens
from datacollect.features.citizens.service import CitizenGate
from datacollect.features.conflicts import feature as conflicts
from datacollect.features.conflicts.service import guids_in_conflict, keep_conflicts
from datacollect.features.devices import feature as devices
from datacollect.features.devices.service import DeviceRegistry
from datacollect.features.discovery import feature as discovery
from datacollect.features.discovery.service import RegistryReader
from datacollect.features.duplicates import feature as duplicates
from datacollect.features.duplicates.detecting import DetectingHandler, Watcher, enqueue_behind
from datacollect.features.duplicates.following import follow_decisions
from datacollect.features.duplicates.service import guids_in_pairs
from datacollect.features.entities import feature as entities
from datacollect.features.entities.indexing.indexer import Indexer
from datacollect.features.entities.indexing.reindexing import Reindexer, enqueue_missing
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.entities.rebuilding import Rebuilder
from datacollect.features.exports import feature as exports
from datacollect.features.exports.importing import Importer
from datacollect.features.exports.service import Exporter
from datacollect.features.external import feature as external
from datacollect.features.external.connecting import Connections
from datacollect.features.external.runner import ExternalSync
from datacollect.features.external.service import OtherSystems
from datacollect.features.forms import feature as forms
from datacollect.features.forms.service import CachedFormChecks
from datacollect.features.health import feature as health
from datacollect.features.history import feature as history
from datacollect.features.integrity import feature as integrity
from datacollect.features.messages import feature as messages
from datacollect.features.messages.couriers import open_couriers
from datacollect.features.messages.sending import SendingHandler
from datacollect.features.messages.service import Outbox
from datacollect.features.providers import feature as providers
from datacollect.features.providers.fetching import GuardedFetcher
from datacollect.features.providers.service import ProviderGate
from datacollect.features.purging import feature as purging
from datacollect.features.purging.purge_job import PurgeHandler
from datacollect.features.quarantine import feature as quarantine
from datacollect.features.quarantine.service import QuarantineKeeper
from datacollect.features.reviews import feature as reviews
from datacollect.features.reviews.delegating import DelegatingHandler
from datacollect.features.reviews.rounds import ReviewRounds
from datacollect.features.reviews.telling import TellingHandler
from datacollect.features.security_log import feature as security_log
from datacollect.features.selfservice import feature as selfservice
from datacollect.features.selfservice.forms import CachedOwnForms
from datacollect.features.sync import feature as sync
from datacollect.features.sync.places import file_by_place
from datacollect.features.tenants import feature as tenants
from datacollect.features.tenants.adoption import adopt, locked_programs
from datacollect.features.tenants.asked import count_sending_codes
from datacollect.features.tenants.directory import CachedTenantDirectory
from datacollect.features.tenants.seeding_job import SeedingHandler
from datacollect.features.users import feature as users
from datacollect.features.users.service import HASHING_THREADS, ensure_first_admin
from datacollect.http.cors import Cors, parse_origins
from datacollect.http.errors import install_error_handlers
from datacollect.http.frame import RequestFrame
from datacollect.http.guard import RequestGuard
from datacollect.http.hub import Authenticator, Hub
from datacollect.http.limits import RequestLimits
from datacollect.http.pages import ApiDescription
from datacollect.http.pages import router as pages
from datacollect.http.policy import require_policies
from datacollect.http.proxy import ClientAddress, trust_rule
from datacollect.http.receiving import BodyMemory
from datacollect.jobs import AnyHandler, Visitors, Worker
from datacollect.kernel.clock import Clock, SystemClock
from datacollect.kernel.errors import StartupError
from datacollect.kernel.ids import TenantId
from datacollect.kernel.peppers import Peppers
from datacollect.kernel.tokens import Tokens
from datacollect.objects import LocalStore, MemoryStore, ObjectStore, Spool, StorageUnavailable
from datacollect.outgoing import GuardedClient, Rules, read_rules
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

_LOCKED = (
    "Secrets of programs were sealed with a key that this hub does not have. Set SECRETS_KEY_PREVIOUS to it: the SECRETS_KEY"
    " of then, or the JWT_SECRET if there was none. See docs/how-to/rotate-the-secrets-key.md."
)

_NO_WAY_OUT = (
    "Programs let citizens sign in by codes, and this hub has no way to send them. Set SMTP_URL or SMS_GATEWAY_URL:"
    " docs/how-to/send-codes-by-mail-and-sms.md."
)

_NO_STORAGE = (
    "Attachments are answered with 503 until their store is back; syncing goes on. Check S3_ENDPOINT, S3_BUCKET and its keys,"
    " or the rights of ATTACHMENTS_DIR: docs/how-to/store-attachments-in-s3.md."
)

_ON_CONSOLE = "MESSAGE_CONSOLE prints codes where the hub runs: whoever reads that can sign in as anybody."

FOLLOWERS = (keep_entries, keep_conflicts, file_by_place, follow_decisions)
"""Told what each event did to the entities, live and when it is applied again."""

LONG_READS = 2
"""Searches that go through a program which a server process works on at once: SQLite has four readers."""

MARKS = {"hasConflict": guids_in_conflict, "hasDuplicate": guids_in_pairs}
"""What lists of entities can be filtered by beside what entities hold."""


def create_hub(settings: Settings, *, clock: Clock | None = None) -> Hub:
    """Put a hub's parts together. Nothing is opened or changed yet."""
    clock = clock or SystemClock()
    database = open_database(
        settings.database_url,
        data_dir=settings.data_dir,
        pool_size=settings.db_pool_size,
        row_level_security=settings.row_level_security,
    )
    anchorer = Anchorer(settings.data_dir, clock)
    projections = [EntityProjection(FOLLOWERS, keeps_index=settings.search_index)]
    watcher = Watcher(database, clock, is_on=settings.duplicate_detection)
    store = event_store(database)
    sealer = Sealer(database, store)
    indexer = Indexer(database, store, is_on=settings.search_index)
    growth = _all([anchorer.committed, watcher.committed, sealer.committed, indexer.committed])
    log = EventLog(store, projections, clock, on_growth=growth)
    tokens = _tokens(settings, clock)
    auth = TokenAuthenticator(database, tokens, clock)
    peppers = Peppers(settings.otp_peppers)
    tenants = CachedTenantDirectory(database, clock)
    outgoing = GuardedClient(outgoing_rules(settings))
    objects = open_objects(settings, clock)
    contents = Contents(database, objects, clock)
    keeper = Keeper(database, log, contents, clock, quota_bytes=settings.attachment_quota * 1024 * 1024)
    checks = CachedFormChecks(database)
    installed()  # here, so that two adapters of one name stop the start and not the first exchange
    connections = Connections(database, tenants, settings.seals, outgoing, clock, installed)
    couriers = open_couriers(settings, outgoing, clock)
    outbox = Outbox(settings.seals, per_day=settings.messages_per_day, channels=couriers.kinds)
    staff = {one.name: one.to_provider() for one in settings.staff_providers}
    visitors, working = Visitors(), Visitors()
    return Hub(
        settings=settings,
        clock=clock,
        db=database,
        log=log,
        pages=Pages(store, sealer),
        sealer=sealer,
        indexes=indexer,
        anchorer=anchorer,
        tenants=tenants,
        checks=checks,
        tokens=tokens,
        seals=settings.seals,
        peppers=peppers,
        auth=auth,
        citizens=CitizenGate(database, tenants, tokens, peppers, clock),
        own_forms=CachedOwnForms(database),
        throttle=Throttle(clock, at_once=HASHING_THREADS, others=working),
        providers=ProviderGate(database, tenants, GuardedFetcher(outgoing), clock, staff=staff),
        devices=DeviceRegistry(database, clock),
        duplicates=watcher,
        quarantine=QuarantineKeeper(database),
        reads=ReadAuditor(database, log, clock),
        exports=Exporter(database, log, clock, at_once=settings.exports_at_once),
        turns=asyncio.Semaphore(LONG_READS),
        marks=MARKS,
        outgoing=outgoing,
        others=OtherSystems(connections, clock),
        registries=RegistryReader(outgoing, clock),
        jobs=_worker(
            settings,
            clock,
            database,
            *job_handlers(settings, clock, database, log, auth, objects, keeper),
            ExternalSync(database, log, checks, connections, clock),
            DelegatingHandler(database, log, connections, clock),
            TellingHandler(outbox, settings.seals, clock),
            SendingHandler(outbox, couriers, clock),
            visitors=visitors,
        ),
        visitors=visitors,
        working=working,
        objects=objects,
        spool=Spool(settings.data_dir / "spool"),
        contents=contents,
        attachments=keeper,
        messages=outbox,
    )


def _tokens(settings: Settings, clock: Clock) -> Tokens:
    # Without a secret (to print the OpenAPI document, say) nobody can know the key, so no token is ever valid.
    secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else secrets.token_urlsafe(48)
    previous = settings.jwt_secret_previous
    return Tokens(secret, clock, previous=previous.get_secret_value() if previous else None)


def _worker(settings: Settings, clock: Clock, database: Database, *handlers: AnyHandler, visitors: Visitors) -> Worker:
    return Worker(
        database,
        clock,
        handlers,
        slots=settings.jobs_at_once,
        call_slots=settings.calls_at_once if settings.jobs_at_once else 0,
        lease_seconds=settings.job_lease,
        visitors=visitors,
    )


def job_handlers(
    settings: Settings,
    clock: Clock,
    database: Database,
    log: EventLog,
    auth: Authenticator,
    objects: ObjectStore,
    keeper: Keeper,
) -> Sequence[AnyHandler]:
    """One for each kind of job that slices enqueue."""
    return (
        SeedingHandler(log, clock),
        PurgeHandler(settings.data_dir, clock, objects, on_changed=auth.forget),
        CollectHandler(objects, clock, Tidier(keeper, log)),
        Reindexer(event_store(database), keeps_index=settings.search_index),
        DetectingHandler(database, log, clock),
    )


def open_objects(settings: Settings, clock: Clock) -> ObjectStore:
    """Where the settings say that attachments are. Nothing is asked of it yet."""
    match settings.attachments_store:
        case "memory":
            return MemoryStore()
        case "local":
            return LocalStore(settings.attachments_folder)
    from datacollect.objects.s3 import S3Options, S3Store

    secret = settings.s3_secret_access_key
    return S3Store(
        S3Options(
            settings.s3_bucket or "",
            prefix=settings.s3_prefix,
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            access_key_id=settings.s3_access_key_id,
            secret_access_key=secret.get_secret_value() if secret else None,
            virtual_hosted=settings.s3_virtual_hosted,
            allow_http=settings.s3_http_allowed,
            root_certificate=_certificates(settings.s3_ca_file),
        )
    )


def _certificates(file: Path | None) -> bytes | None:
    try:
        return None if file is None else file.read_bytes()
    except OSError as error:
        raise StartupError(f"S3_CA_FILE {file} cannot be read ({error.strerror}).") from error


def _all(told: Sequence[OnGrowth]) -> OnGrowth:
    def tell(tenant_id: TenantId, before: Head, after: Head) -> None:
        for one in told:
            one(tenant_id, before, after)

    return tell


def outgoing_rules(settings: Settings) -> Rules:
    return read_rules(allow_private=settings.allow_private_adapter_hosts, allowed=settings.allowed_private_hosts)


def create_app(settings: Settings, *, clock: Clock | None = None) -> FastAPI:
    """The hub as an ASGI application; it is prepared when its lifespan begins, and closed when that ends."""
    hub = create_hub(settings, clock=clock)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await prepare(hub)
            async with hub.devices.running(), hub.jobs.running(), rounds(hub), sealing(hub), hub.indexes.running():
                yield
        finally:
            await hub.others.aclose()
            await hub.outgoing.aclose()
            await hub.objects.aclose()
            await hub.anchorer.finish()
            hub.duplicates.stop()
            await hub.db.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.hub = hub
    app.state.description = ApiDescription(app)
    install_error_handlers(app)
    _add_middleware(app, hub)
    # Not by `include_router`: it builds every route once more for each application, and looks for each request's twice.
    for feature in sorted(FEATURES, key=lambda feature: (not feature.is_asked_most, not feature.goes_first)):
        if feature.router and feature.is_offered(settings):
            app.router.routes.extend(feature.router.routes)
    app.router.routes.extend(pages.routes)
    require_policies(app)
    return app


@contextlib.asynccontextmanager
async def rounds(hub: Hub) -> AsyncIterator[None]:
    """Look for what has come due, now and then, while the block lasts."""
    async with contextlib.AsyncExitStack() as going:
        if hub.settings.rounds:
            await going.enter_async_context(CollectRounds(hub.db, hub.clock, programs_with_attachments).running())
            await going.enter_async_context(ReviewRounds(hub.db, hub.clock).running())
        yield


def sealing(hub: Hub) -> AbstractAsyncContextManager[None]:
    return hub.sealer.running() if hub.settings.seal_segments else contextlib.nullcontext()


async def prepare(hub: Hub) -> None:
    """What must be there before the first request: the schema and an administrator. Harmless when they are."""
    await migrate(hub.db)
    if unguarded := await hub.db.unguarded(tenant_tables()):
        _log.warning("database.row_security_bypassed", tables=len(unguarded), help=_BYPASSED)
    await _open_secrets(hub)
    await _open_storage(hub)
    await _tell_of_messages(hub)
    settings = hub.settings
    if hub.db.dialect == "postgresql" and not settings.row_level_security:
        _log.warning("database.row_security_off")
    if settings.search_index:
        await enqueue_missing(hub.db, hub.clock.now)
    if settings.duplicate_detection:
        await enqueue_behind(hub.db, hub.clock.now)
    if settings.admin_email and settings.admin_password:
        async with hub.db.transaction() as tx:
            await ensure_first_admin(
                tx,
                email=settings.admin_email,
                password=settings.admin_password.get_secret_value(),
                now=hub.clock.now(),
            )


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
    """Make room of what uploads left behind that were cut by a crash, and say so if attachments cannot be reached.

    The hub starts all the same: to sync goes before photos.
    """
    if left := await hub.spool.clean():
        _log.info("spool.cleaned", files=left)
    with contextlib.suppress(StorageUnavailable):
        await hub.objects.health()
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
    )
    app.add_middleware(Cors, origins=parse_origins(settings.cors_origins))
    app.add_middleware(RequestFrame)
    trusted = trust_rule(settings.trust_proxy)
    if trusted is not None:
        app.add_middleware(ClientAddress, trusted=trusted)


def create_event_log(database: Database, clock: Clock) -> EventLog:
    """For what is done to logs without appending events that change anything."""
    return EventLog(event_store(database), [], clock)


def create_rebuilder(database: Database) -> Rebuilder:
    return Rebuilder(database, event_store(database), SystemClock(), followers=FOLLOWERS)


def create_exporter(database: Database) -> Exporter:
    clock = SystemClock()
    return Exporter(database, EventLog(event_store(database), [], clock), clock, at_once=1)


def create_importer(database: Database) -> Importer:
    store, clock = event_store(database), SystemClock()
    return Importer(database, store, EventLog(store, [], clock), clock, FOLLOWERS)


def create_attachment_exporter(settings: Settings, database: Database) -> AttachmentExporter:
    clock = SystemClock()
    objects = open_objects(settings, clock)
    return AttachmentExporter(database, objects, Contents(database, objects, clock), clock)


def create_attachment_importer(settings: Settings, database: Database) -> AttachmentImporter:
    clock = SystemClock()
    contents = Contents(database, open_objects(settings, clock), clock)
    log = EventLog(event_store(database), [], clock)
    keeper = Keeper(database, log, contents, clock, quota_bytes=0)
    return AttachmentImporter(keeper, Spool(settings.data_dir / "spool"))


def event_store(database: Database) -> EventStore:
    if database.dialect == "sqlite":
        from datacollect.eventstore.sqlite import SqliteEventStore

        return SqliteEventStore()
    from datacollect.eventstore.postgres import PostgresEventStore

    return PostgresEventStore()
