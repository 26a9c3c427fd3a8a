"""Bytes that nothing refers to are deleted, after a while; others never are."""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from datacollect.db import Database
from datacollect.features.attachments.checking import Checker
from datacollect.features.attachments.contents import collecting, queries
from datacollect.features.attachments.contents.collecting import KIND, CollectRounds
from datacollect.features.attachments.contents.keeping import Contents
from datacollect.features.attachments.model import Attachment
from datacollect.features.attachments.service import Keeper, NewAttachment, programs_with_attachments
from datacollect.features.duplicates.succession import successors_of
from datacollect.http.hub import Hub
from datacollect.jobs import JobState, find_latest, list_jobs
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import TenantUnknown
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.objects import (
    InTurns,
    LocalStore,
    MemoryStore,
    ObjectKey,
    Spool,
    Spooled,
    StorageUnavailable,
    tenant_folder,
)
from datacollect.testing.clock import TurnableClock
from datacollect.testing.objects import put
from tests.factories import make_program, new_id
from tests.features.attachments.collector import Collector
from tests.features.attachments.files import a_photo, attach, delete, digest_of, download
from tests.features.conftest import Alone, Installation
from tests.features.purging.test_purge import purge, purge_to_the_end

pytestmark = pytest.mark.anyio

HOUR = 3600


async def stored(hub: Hub, program: str) -> Sequence[str]:
    """Hashes of what is in the store."""
    items = [item async for item in hub.objects.list(tenant_folder(TenantId(program)))]
    return sorted(item.key.digest for item in items if item.key is not None)


async def collect(hub: Hub) -> None:
    await CollectRounds(hub.db, hub.clock, programs_with_attachments).look()
    await hub.jobs.drain()


async def condemn(hub: Hub, store: LocalStore, scope: TenantScope, photo: bytes) -> None:
    """Put a photo that is to be deleted into the store."""
    key = await put(store, hub.spool, scope.tenant_id, photo)
    async with hub.db.transaction(scope) as tx:
        await queries.condemn(tx, scope, key.digest, key.generation, since=hub.clock.now())


async def test_a_photo_is_stored_once_and_as_long_as_one_attachment_has_it(alone: Alone) -> None:
    admin = await alone.admin()
    program, photo = await make_program(admin), a_photo()
    first, second = [await attach(admin, program, photo) for _ in range(2)]
    assert await stored(alone.hub, program) == [digest_of(photo)]

    await delete(admin, program, first["guid"])
    alone.clock.turn(seconds=3 * HOUR)
    await collect(alone.hub)
    assert await download(await alone.admin(), program, second["guid"]) == photo

    await delete(admin, program, second["guid"])
    await collect(alone.hub)
    assert await stored(alone.hub, program) == [digest_of(photo)]
    alone.clock.turn(seconds=1.1 * HOUR)
    await collect(alone.hub)
    assert await stored(alone.hub, program) == []


async def test_the_same_photo_in_another_program_is_another_photo(alone: Alone) -> None:
    admin = await alone.admin()
    ours, theirs, photo = await make_program(admin), await make_program(admin), a_photo()
    kept, gone = await attach(admin, ours, photo), await attach(admin, theirs, photo)
    await delete(admin, theirs, gone["guid"])
    alone.clock.turn(seconds=1.1 * HOUR)
    await collect(alone.hub)
    assert await stored(alone.hub, theirs) == []
    assert await download(await alone.admin(), ours, kept["guid"]) == photo


async def test_what_a_crash_left_is_deleted(alone: Alone) -> None:
    admin = await alone.admin()
    hub, photo = alone.hub, a_photo()
    program = await make_program(admin)
    async with hub.spool.receiving(most_bytes=10_000) as incoming:
        await incoming.write(photo)
        await hub.contents.secure(system_scope(TenantId(program)), await incoming.finish())
    assert await stored(hub, program) == [digest_of(photo)]
    await collect(hub)
    assert await stored(hub, program) == [digest_of(photo)]
    alone.clock.turn(seconds=1.1 * HOUR)
    await collect(hub)
    assert await stored(hub, program) == []


async def test_a_clock_that_was_set_back_keeps_nobody_from_tidying(alone: Alone) -> None:
    admin = await alone.admin()
    program = await make_program(admin)
    await attach(admin, program, a_photo())
    scope, seen = system_scope(TenantId(program)), []
    for days in (0, -7):
        alone.clock.turn(seconds=days * 24 * HOUR)
        await collect(alone.hub)
        async with alone.hub.db.reading(scope) as view:
            seen.append(len((await list_jobs(view, scope, kinds=[KIND], limit=9)).jobs))
    assert seen == [1, 2]


async def test_a_store_that_is_away_is_asked_again(installation: Installation) -> None:
    async with installation.running(ATTACHMENTS_STORE="memory") as (app, client):
        alone = Alone(app, client, installation.clock)
        admin = await alone.admin()
        program, hub = await make_program(admin), alone.hub
        assert isinstance(hub.objects, InTurns)
        store = hub.objects.store
        assert isinstance(store, MemoryStore)
        gone = await attach(admin, program, a_photo())
        await delete(admin, program, gone["guid"])
        alone.clock.turn(seconds=1.1 * HOUR)
        store.is_away = True
        await collect(hub)
        scope = system_scope(TenantId(program))
        async with hub.db.reading(scope) as view:
            job = await find_latest(view, scope, KIND)
        assert job is not None
        assert (job.state, job.error_code) == (JobState.RETRYABLE, "STORAGE_UNAVAILABLE")
        store.is_away = False
        alone.clock.turn(seconds=60)
        await hub.jobs.drain()
        assert await stored(hub, program) == []


class Holding(LocalStore):
    """Has some objects on hold."""

    held: frozenset[str] = frozenset()

    async def delete(self, key: ObjectKey) -> None:
        if key.digest in self.held:
            raise StorageUnavailable()
        await super().delete(key)


async def test_what_the_store_does_not_let_go_keeps_nothing_else(alone: Alone) -> None:
    """It comes again later, behind the others: a whole batch of such is no end of all deleting."""
    admin, hub = await alone.admin(), alone.hub
    program = await make_program(admin)
    held, others = [[a_photo() for _ in range(count)] for count in (collecting.AT_ONCE, 3)]
    scope, store = system_scope(TenantId(program)), Holding(hub.settings.attachments_folder)
    store.held = frozenset(map(digest_of, held))
    # Those on hold are the first in line.
    for photos in (held, others):
        for photo in photos:
            await condemn(hub, store, scope, photo)
        alone.clock.turn(seconds=60)
    alone.clock.turn(seconds=2 * HOUR)
    collector = Collector(hub.db, store, hub.clock, scope)
    with capture_logs() as logs:
        await collector.collect()
    assert await stored(hub, program) == sorted(store.held)
    told = [line["objects"] for line in logs if line["event"] == "attachments.not_deleted"]
    assert told == [len(held)]
    store.held = frozenset()
    await collector.collect()
    assert len(await stored(hub, program)) == len(held)
    alone.clock.turn(seconds=2 * HOUR)
    await collector.collect()
    assert await stored(hub, program) == []


class Stuck(LocalStore):
    """Stands still for minutes at some objects."""

    def __init__(self, folder: Path, clock: TurnableClock) -> None:
        super().__init__(folder)
        self.stuck = frozenset[str]()
        self._clock = clock

    async def delete(self, key: ObjectKey) -> None:
        if key.digest in self.stuck:
            self._clock.turn(seconds=HOUR / 20)
            raise StorageUnavailable()
        await super().delete(key)


async def test_objects_at_which_the_store_stands_still_keep_nothing_else(alone: Alone) -> None:
    """Each is tried once: a job that takes until they come again has an end, too."""
    admin, hub = await alone.admin(), alone.hub
    program = await make_program(admin)
    stuck, others = [[a_photo() for _ in range(count)] for count in (21, 3)]
    scope, store = system_scope(TenantId(program)), Stuck(hub.settings.attachments_folder, alone.clock)
    store.stuck = frozenset(map(digest_of, stuck))
    for photos in (stuck, others):
        for photo in photos:
            await condemn(hub, store, scope, photo)
        alone.clock.turn(seconds=60)
    alone.clock.turn(seconds=2 * HOUR)
    collector = Collector(hub.db, store, hub.clock, scope, monotonic=lambda: alone.clock.now() / 1000)
    with capture_logs() as logs:
        await collector.collect()
    assert await stored(hub, program) == sorted(store.stuck)
    assert sum(line["objects"] for line in logs if line["event"] == "attachments.not_deleted") == len(stuck)


class Silent(LocalStore):
    """Does not answer to deletes."""

    async def delete(self, key: ObjectKey) -> None:
        await asyncio.Event().wait()


async def test_a_delete_that_is_never_answered_is_postponed(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    admin, hub = await alone.admin(), alone.hub
    program, photo = await make_program(admin), a_photo()
    scope, store = system_scope(TenantId(program)), Silent(hub.settings.attachments_folder)
    await condemn(hub, store, scope, photo)
    alone.clock.turn(seconds=2 * HOUR)
    monkeypatch.setattr(collecting, "_DELETE_SECONDS", 0.01)
    with capture_logs() as logs:
        async with asyncio.timeout(30):
            await Collector(hub.db, store, hub.clock, scope).collect()
    assert [line["objects"] for line in logs if line["event"] == "attachments.not_deleted"] == [1]
    assert await stored(hub, program) == [digest_of(photo)]


async def test_bytes_that_are_gone_come_back_with_the_next_upload_of_the_same(alone: Alone) -> None:
    admin = await alone.admin()
    program, photo, scope = await make_program(admin), a_photo(), None
    first = await attach(admin, program, photo)
    scope = system_scope(TenantId(program))
    async with alone.hub.db.reading(scope) as view:
        content = await alone.hub.contents.find(view, scope, digest_of(photo))
    await alone.hub.objects.delete(content.key(scope.tenant_id))
    answer = await admin.get(f"/api/attachments/{first['guid']}", params={"configId": program})
    assert (answer.status_code, answer.json()["code"]) == (500, "OBJECT_MISSING")

    second = await attach(admin, program, photo)
    for one in (first, second):
        assert await download(admin, program, one["guid"]) == photo
    alone.clock.turn(seconds=1.1 * HOUR)
    await collect(alone.hub)
    assert await download(await alone.admin(), program, first["guid"]) == photo


async def test_what_was_not_found_while_another_folder_was_in_its_place_is_not_deleted(
    installation: Installation, tmp_path: Path
) -> None:
    """A volume that was not mounted at a restart, and a photo that is sent again meanwhile."""
    right, wrong, photo = tmp_path / "right", tmp_path / "wrong", a_photo()
    async with installation.running(ATTACHMENTS_DIR=str(right)) as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        program = await make_program(admin)
        first = await attach(admin, program, photo)
    with capture_logs() as logs:
        async with installation.running(ATTACHMENTS_DIR=str(wrong)) as (app, client):
            admin = await Alone(app, client, installation.clock).admin()
            await attach(admin, program, photo)
    assert "storage.has_none" in [line["event"] for line in logs]
    installation.clock.turn(seconds=2 * HOUR)
    async with installation.running(ATTACHMENTS_DIR=str(right)) as (app, client):
        alone = Alone(app, client, installation.clock)
        await collect(alone.hub)
        assert await stored(alone.hub, program) == [digest_of(photo)]
        checker = Checker(alone.hub.db, alone.hub.objects, alone.hub.log, repair=True)
        assert (await checker.check(system_scope(TenantId(program)))).ok
        assert await download(await alone.admin(), program, first["guid"]) == photo


async def test_a_store_that_has_what_it_should_is_not_warned_of(installation: Installation) -> None:
    with capture_logs() as logs:
        for _ in range(2):
            async with installation.running() as (app, client):
                admin = await Alone(app, client, installation.clock).admin()
                program = await make_program(admin)
                gone = await attach(admin, program, a_photo())
                await attach(admin, program, a_photo())
                await delete(admin, program, gone["guid"])
    assert {line["event"] for line in logs if line["event"].startswith("storage.")} == set()


async def test_a_purge_takes_the_files_along_and_no_others(alone: Alone) -> None:
    admin = await alone.admin()
    ours, theirs, photo = await make_program(admin), await make_program(admin), a_photo()
    await attach(admin, ours, photo)
    kept = await attach(admin, theirs, photo)
    assert (await admin.delete(f"/api/apps/{ours}")).status_code == 200
    assert (await purge(admin, ours)).status_code == 200
    await alone.hub.jobs.drain()
    assert await stored(alone.hub, ours) == []
    assert await download(admin, theirs, kept["guid"]) == photo


@pytest.mark.parametrize(("is_made_anew", "is_imported"), [(False, False), (True, False), (False, True)])
async def test_what_is_stored_while_its_program_is_purged_stays_nowhere(
    alone: Alone, tmp_path: Path, is_made_anew: bool, is_imported: bool
) -> None:
    """Least of all in another program that has the id by then, and lets others in."""
    admin, hub = await alone.admin(), alone.hub
    program = await make_program(admin)
    tenant = await hub.tenants.find(TenantId(program))
    assert tenant is not None

    class Meanwhile(LocalStore):
        async def put(self, key: ObjectKey, spooled: Spooled) -> None:
            if not made_anew:
                assert (await admin.delete(f"/api/apps/{program}")).status_code == 200
                await purge_to_the_end(admin, hub, program)
                if is_made_anew:
                    made_anew.append(await make_program(admin, id=program))
            await super().put(key, spooled)

    made_anew = list[str]()
    scope, store = system_scope(tenant.id), Meanwhile(hub.settings.attachments_folder)
    contents = Contents(hub.db, store, hub.clock)
    keeper = Keeper(hub.db, hub.log, contents, hub.clock, successors=successors_of, quota_bytes=0)
    new = NewAttachment(new_guid(), new_id(), "photo.jpg", "photo.jpg", "image/jpeg")
    async with Spool(tmp_path).receiving(most_bytes=9999) as incoming:
        await incoming.write(a_photo())
        spooled = await incoming.finish()
        with pytest.raises(StorageUnavailable if is_made_anew else TenantUnknown):
            if is_imported:
                await keeper.take_in(scope, told_of(new, spooled), spooled)
            else:
                await keeper.keep(scope, tenant.attachments, new, spooled)
    if is_made_anew:
        alone.clock.turn(seconds=2 * HOUR)
        await collect(hub)
        answer = await (await alone.admin()).get("/api/attachments", params={"configId": program})
        assert answer.json()["attachments"] == []
    assert await stored(hub, program) == []


def told_of(new: NewAttachment, spooled: Spooled) -> Attachment:
    """As another hub has it."""
    return Attachment(
        guid=new.guid,
        entity_guid=new.entity_guid,
        digest=spooled.digest,
        filename=new.filename,
        original_name=new.original_name,
        mime_type=new.mime_type,
        size_bytes=spooled.size_bytes,
        position=0,
        created_at=Millis(0),
        created_by="eva",
    )


async def test_a_round_asks_for_programs_once_a_day_at_most(alone: Alone) -> None:
    admin = await alone.admin()
    program, hub = await make_program(admin), alone.hub
    await attach(admin, program, a_photo())
    scope = system_scope(TenantId(program))

    async def latest() -> str | None:
        await collect(hub)
        async with hub.db.reading(scope) as view:
            job = await find_latest(view, scope, KIND)
        return job and job.id

    first = await latest()
    assert first is not None
    alone.clock.turn(seconds=10 * HOUR)
    assert await latest() == first
    alone.clock.turn(seconds=14 * HOUR)
    assert await latest() != first


# -- really at once


class Everybody:
    """Uploads, deletes and collects the same few contents, each in tasks of their own."""

    def __init__(self, database: Database, store: LocalStore, spool: Spool, scope: TenantScope) -> None:
        self.database, self.store, self.spool, self.scope = database, store, spool, scope
        self.clock = TurnableClock()
        self.contents = Contents(database, store, self.clock)
        self.collector = Collector(database, store, self.clock, scope)
        self.photos = [a_photo(number) for number in (10, 20, 30)]
        self.attached: Counter[str] = Counter()

    async def upload(self, chance: random.Random) -> None:
        async with self.spool.receiving(most_bytes=1000) as incoming:
            await incoming.write(chance.choice(self.photos))
            spooled = await incoming.finish()
            while True:
                secured = await self.contents.secure(self.scope, spooled)
                async with self.database.transaction(self.scope) as tx:
                    taken = await self.contents.take(tx, self.scope, secured)
                if taken:
                    self.attached[spooled.digest] += 1
                    return

    async def delete(self, chance: random.Random) -> None:
        digest = digest_of(chance.choice(self.photos))
        if self.attached[digest]:
            self.attached[digest] -= 1
            async with self.database.transaction(self.scope) as tx:
                await self.contents.release(tx, self.scope, digest)

    async def work(self, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(12):
            await (self.upload(chance) if chance.random() < 0.6 else self.delete(chance))

    async def collect_again_and_again(self) -> None:
        for _ in range(15):
            self.clock.turn(seconds=0.6 * HOUR)
            await self.collector.collect()


async def test_uploads_deletions_and_the_collector_at_once(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("everybody")
    store = LocalStore(folder / "store")
    scope = system_scope(TenantId(f"p-{new_id()}"))
    everybody = Everybody(database, store, Spool(folder / "spool"), scope)
    await asyncio.gather(*(everybody.work(seed) for seed in range(6)), everybody.collect_again_and_again())
    async with database.reading(scope) as view:
        known = await queries.list_all(view, scope, after="", most=10)
    assert {content.digest: refs for content, refs in known if refs} == dict(+everybody.attached)
    for content, refs in known:
        if refs:
            async with await store.open(content.key(scope.tenant_id), content.size_bytes) as opened:
                assert hashlib.sha256(b"".join([piece async for piece in opened])).hexdigest() == content.digest
    everybody.clock.turn(seconds=3 * HOUR)
    await everybody.collector.collect()
    left: set[ObjectKey | None] = {item.key async for item in store.list(tenant_folder(scope.tenant_id))}
    assert left == {content.key(scope.tenant_id) for content, refs in known if refs}
