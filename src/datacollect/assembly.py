"""Puts a hub's parts together: the one file that knows what every slice does.

It knows none of their routes, which `app.py` serves: they and their wire models are a third of what a process of ours
imports, and most commands need none of them.
"""

import asyncio
import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from datacollect.adapters.registry import installed
from datacollect.db import Database, open_database
from datacollect.eventstore.anchorer import Anchorer
from datacollect.eventstore.log import EventLog, OnGrowth
from datacollect.eventstore.pages import Pages
from datacollect.eventstore.sealer import Sealer
from datacollect.eventstore.store import EventStore, Head
from datacollect.eventstore.together import Together
from datacollect.features.attachments.contents.collecting import CollectHandler
from datacollect.features.attachments.contents.keeping import Contents
from datacollect.features.attachments.service import Keeper
from datacollect.features.attachments.tidying import Tidier
from datacollect.features.attachments.transfer import AttachmentExporter, AttachmentImporter
from datacollect.features.audit.reading import ReadAuditor
from datacollect.features.audit.service import keep_entries
from datacollect.features.auth.attempts import Throttle
from datacollect.features.auth.service import TokenAuthenticator
from datacollect.features.citizens.service import CitizenGate
from datacollect.features.conflicts.service import guids_in_conflict, keep_conflicts
from datacollect.features.devices.service import DeviceRegistry
from datacollect.features.discovery.service import RegistryReader
from datacollect.features.duplicates.detecting import DetectingHandler, Watcher
from datacollect.features.duplicates.following import UnheardDecisions, follow_decisions
from datacollect.features.duplicates.service import guids_in_pairs
from datacollect.features.duplicates.succession import successors_of
from datacollect.features.entities.indexing.indexer import Indexer
from datacollect.features.entities.indexing.reindexing import Reindexer
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.entities.rebuilding import Rebuilder
from datacollect.features.entities.service import touchable_within
from datacollect.features.entities.sweeping import Sweeper
from datacollect.features.exports.importing import Importer
from datacollect.features.exports.service import Exporter
from datacollect.features.external.connecting import Connections
from datacollect.features.external.runner import ExternalSync
from datacollect.features.external.service import OtherSystems
from datacollect.features.forms.service import CachedFormChecks
from datacollect.features.history.replays import Replays
from datacollect.features.integrity import tables as integrity  # noqa: F401 - a purge clears the tables that are imported
from datacollect.features.messages.couriers import open_couriers
from datacollect.features.messages.sending import SendingHandler
from datacollect.features.messages.service import Outbox
from datacollect.features.providers.fetching import GuardedFetcher
from datacollect.features.providers.service import ProviderGate
from datacollect.features.purging.purge_job import PurgeHandler
from datacollect.features.quarantine.service import QuarantineKeeper
from datacollect.features.reviews.delegating import DelegatingHandler
from datacollect.features.reviews.policies import PortablePolicies
from datacollect.features.reviews.telling import TellingHandler
from datacollect.features.selfservice.forms import CachedOwnForms
from datacollect.features.sync.places import ended_within, file_by_place
from datacollect.features.tenants.directory import CachedTenantDirectory
from datacollect.features.tenants.seeding import AT_ONCE, BATCH_RECORDS
from datacollect.features.tenants.seeding_job import SeedingHandler
from datacollect.features.users.service import HASHING_THREADS
from datacollect.http.hub import Authenticator, Hub, SeedAmounts
from datacollect.jobs import AnyHandler, Visitors, Worker
from datacollect.kernel.clock import Clock, SystemClock
from datacollect.kernel.errors import StartupError
from datacollect.kernel.ids import TenantId
from datacollect.kernel.peppers import Peppers
from datacollect.kernel.tokens import Tokens
from datacollect.objects import InTurns, LocalStore, MemoryStore, ObjectStore, Spool, in_turns
from datacollect.outgoing import GuardedClient, Rules, read_rules
from datacollect.settings import Settings

FOLLOWERS = (keep_entries, keep_conflicts, file_by_place, follow_decisions)
"""Told what each event did to the entities, live and when it is applied again."""
DECISIONS = UnheardDecisions()
POLICIES = PortablePolicies()
"""Both are asked by exports and told by imports."""

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
    projections = [EntityProjection(FOLLOWERS, keeps_index=settings.search_index, ends=ended_within)]
    visitors, working = Visitors(), Visitors()
    watcher = Watcher(database, clock, is_on=settings.duplicate_detection)
    store = event_store(database)
    sealer = Sealer(database, store)
    indexer = Indexer(database, store, is_on=settings.search_index, visitors=visitors)
    sweeper = Sweeper(database, visitors=visitors)
    growth = _all(
        [anchorer.committed, watcher.committed, sealer.committed, indexer.committed, sweeper.committed],
    )
    log = EventLog(store, projections, clock, on_growth=growth)
    tokens = _tokens(settings, clock)
    auth = TokenAuthenticator(database, tokens, clock)
    peppers = Peppers(settings.otp_peppers)
    tenants = CachedTenantDirectory(database, clock)
    outgoing, urgent = GuardedClient(outgoing_rules(settings)), GuardedClient(outgoing_rules(settings))
    objects = open_objects(settings, clock)
    asked = InTurns(objects, at_once=max(1, settings.requests_at_once // in_turns.SHARE))
    contents = Contents(database, asked, clock)
    quota = settings.attachment_quota * 1024 * 1024
    keeper = Keeper(
        database,
        log,
        contents,
        clock,
        successors=successors_of,
        touchable=partial(touchable_within, ended_within),
        quota_bytes=quota,
    )
    checks = CachedFormChecks(database)
    installed()  # here, so that two adapters of one name stop the start and not the first exchange
    connections = Connections(database, tenants, settings.seals, outgoing, clock, installed)
    couriers = open_couriers(settings, urgent, clock)
    outbox = Outbox(settings.seals, per_day=settings.messages_per_day, channels=couriers.kinds)
    staff = {one.name: one.to_provider() for one in settings.staff_providers}
    return Hub(
        settings=settings,
        clock=clock,
        db=database,
        log=log,
        together=Together(database, log),
        pages=Pages(store, sealer, clock=clock),
        sealer=sealer,
        indexes=indexer,
        listings=sweeper,
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
        providers=ProviderGate(database, tenants, GuardedFetcher(urgent), clock, staff=staff),
        devices=DeviceRegistry(database, clock),
        duplicates=watcher,
        quarantine=QuarantineKeeper(database),
        reads=ReadAuditor(database, log, clock),
        exports=Exporter(database, log, clock, DECISIONS, POLICIES, at_once=settings.exports_at_once),
        replays=Replays(),
        turns=asyncio.Semaphore(LONG_READS),
        marks=MARKS,
        outgoing=outgoing,
        urgent=urgent,
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
        objects=asked,
        spool=Spool(settings.data_dir / "spool"),
        contents=contents,
        attachments=keeper,
        messages=outbox,
        seed_amounts=SeedAmounts(AT_ONCE, BATCH_RECORDS),
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
        PurgeHandler(database, settings.data_dir, clock, objects, on_changed=auth.forget),
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


def create_event_log(database: Database, clock: Clock) -> EventLog:
    """For what is done to logs without appending events that change anything."""
    return EventLog(event_store(database), [], clock)


def create_rebuilder(database: Database) -> Rebuilder:
    return Rebuilder(database, event_store(database), SystemClock(), followers=FOLLOWERS)


def create_exporter(database: Database) -> Exporter:
    clock = SystemClock()
    return Exporter(database, EventLog(event_store(database), [], clock), clock, DECISIONS, POLICIES, at_once=1)


def create_importer(database: Database) -> Importer:
    store, clock = event_store(database), SystemClock()
    return Importer(database, store, EventLog(store, [], clock), clock, FOLLOWERS, DECISIONS, POLICIES)


def create_attachment_exporter(settings: Settings, database: Database) -> AttachmentExporter:
    clock = SystemClock()
    objects = open_objects(settings, clock)
    return AttachmentExporter(database, objects, Contents(database, objects, clock), clock)


def create_attachment_importer(settings: Settings, database: Database) -> AttachmentImporter:
    clock = SystemClock()
    contents = Contents(database, open_objects(settings, clock), clock)
    log = EventLog(event_store(database), [], clock)
    keeper = Keeper(database, log, contents, clock, successors=successors_of, quota_bytes=0)
    return AttachmentImporter(keeper, Spool(settings.data_dir / "spool"))


def event_store(database: Database) -> EventStore:
    if database.dialect == "sqlite":
        from datacollect.eventstore.sqlite import SqliteEventStore

        return SqliteEventStore()
    from datacollect.eventstore.postgres import PostgresEventStore

    return PostgresEventStore()
