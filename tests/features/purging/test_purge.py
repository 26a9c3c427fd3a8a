"""Purging: everything of a program goes, nothing of any other one does, and its id is a stranger's afterwards."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from httpx2 import AsyncClient
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from datacollect.app import create_app
from datacollect.db import EVERY_TENANT, Tx
from datacollect.db.metadata import metadata
from datacollect.db.walls import tenant_tables
from datacollect.eventstore.anchors import Anchor, add_anchors, anchor_file, anchored_tenants
from datacollect.features.audit.service import note
from datacollect.features.devices import service as devices
from datacollect.features.devices.tables import device_sync_summary
from datacollect.features.entities.indexing.batches import programs_behind
from datacollect.features.messages.model import day_of
from datacollect.features.messages.queries import use_budget
from datacollect.features.purging import purge_job, routes
from datacollect.features.purging.model import Progress
from datacollect.features.purging.purge_job import KIND, PurgeHandler
from datacollect.features.reviews.deciding import comment_on
from datacollect.features.users import service as users
from datacollect.http.hub import Hub
from datacollect.http.pages import ApiDescription
from datacollect.jobs import Done, Job, JobState, Lease, Step, Worker, enqueue, find_latest
from datacollect.jobs.tables import jobs
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import TenantUnknown
from datacollect.kernel.identity import COMMAND_LINE, AccountRole, Action, TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.objects import tenant_folder
from tests.accounts import bearer, login, make_person
from tests.attachments import attach, make_entity
from tests.citizens import make_citizen, make_open_program
from tests.conftest import make_settings
from tests.db.test_walls import row_of
from tests.factories import make_config, make_event, make_program, new_id, pull, pull_all, push
from tests.features.conftest import Alone, Installation

pytestmark = pytest.mark.anyio

GONE = "Program permanently deleted. This endpoint is for development only."


async def plant(hub: Hub, program: str) -> None:
    """A row in each table that has none of the program yet, whatever it would mean."""
    insert = (postgresql if hub.db.dialect == "postgresql" else sqlite).insert
    async with hub.db.transaction(EVERY_TENANT) as tx:
        for name in tenant_tables():
            table = metadata.tables[name]
            await tx.execute(insert(table).values(row_of(table, program)).on_conflict_do_nothing())


async def rows_of(hub: Hub, program: str) -> Mapping[str, int]:
    """How many rows each table has of the program; tables without any are left out."""
    if program in await programs_behind(hub.db):
        with contextlib.suppress(msgspec.DecodeError):  # of a row that was planted
            await hub.indexes.catch_up(system_scope(TenantId(program)))
    counts = {}
    async with hub.db.reading(EVERY_TENANT) as view:
        for name in tenant_tables():
            table = metadata.tables[name]
            found = select(func.count()).select_from(table).where(table.c.tenant_id == program)
            counts[name] = int((await view.execute(found)).scalar_one())
    return {name: count for name, count in counts.items() if count}


@pytest.fixture
def nobody_works(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Settings of a hub that does no jobs by itself; a purge does not wait for somebody who does."""
    monkeypatch.setattr(routes, "_WAIT_SECONDS", 0)
    return {"JOBS_AT_ONCE": 0}


async def archived_program(admin: AsyncClient, events: int = 3, **changes: Any) -> str:
    program = await make_program(admin, **changes)
    assert (await push(admin, program, *(make_event() for _ in range(events)))).status_code == 200
    assert (await admin.delete(f"/api/apps/{program}")).status_code == 200
    return program


async def purge(admin: AsyncClient, program: str) -> Any:
    return await admin.delete(f"/api/apps/{program}/purge")


async def purge_to_the_end(admin: AsyncClient, hub: Hub, program: str) -> None:
    """Also on a machine that is too busy to do it while the request waits."""
    answer = await purge(admin, program)
    assert answer.status_code == 200, answer.text
    await hub.jobs.drain()


# -- what goes


async def test_a_purge_leaves_no_row_of_the_program_in_any_table_and_all_rows_of_others(
    admin: AsyncClient, hub: Hub
) -> None:
    program, other = await archived_program(admin), await archived_program(admin)
    for one in (program, other):
        await plant(hub, one)
    assert set(await rows_of(hub, program)) == set(tenant_tables()), "the test plants in each table"
    before = await rows_of(hub, other)
    await purge_to_the_end(admin, hub, program)
    assert await rows_of(hub, program) == {}
    assert await rows_of(hub, other) == before
    assert (await purge(admin, program)).status_code == 404


async def test_a_small_program_is_deleted_when_the_answer_comes(admin: AsyncClient, hub: Hub) -> None:
    for _ in range(5):  # a busy machine may need more than the request waits
        program = await archived_program(admin)
        answer = (await purge(admin, program)).json()
        if answer["finished"]:
            assert (answer["status"], answer["warning"]) == ("success", GONE)
            assert answer["deletedRows"] > 6
            assert await rows_of(hub, program) == {}
            return
        await hub.jobs.drain()
    pytest.fail("none was deleted in time")


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred events are many then."""
    monkeypatch.setattr(purge_job, "_ROWS_AT_ONCE", 50)


@pytest.mark.usefixtures("small_batches")
async def test_more_than_a_batch_goes(alone: Alone) -> None:
    admin = await alone.admin()
    program = await archived_program(admin, events=130)
    await purge_to_the_end(admin, alone.hub, program)
    assert await rows_of(alone.hub, program) == {}
    [entry] = (await admin.get("/api/security-log", params={"action": "program.purged"})).json()["entries"]
    assert entry["details"]["rows"]["events"] == 130
    assert entry["details"]["rows"]["entities"] == 130


async def test_nothing_of_it_can_be_read_in_the_files_of_a_hub_that_runs(alone: Alone) -> None:
    admin, folder = await alone.admin(), alone.hub.settings.data_dir

    def holding(text: bytes) -> set[str]:
        return {file.name for file in folder.rglob("*") if file.is_file() and text in file.read_bytes()}

    program, name = await make_program(admin), new_id("Zenzele")
    await push(admin, program, *(make_event(data={"name": name}) for _ in range(3)))
    assert (await admin.delete(f"/api/apps/{program}")).status_code == 200
    if alone.hub.db.dialect == "sqlite":
        assert holding(name.encode()) == {"hub.sqlite3-wal"}
    await purge_to_the_end(admin, alone.hub, program)
    assert holding(name.encode()) == set()


async def test_other_jobs_of_the_program_are_stopped_and_forgotten(alone: Alone) -> None:
    admin, hub = await alone.admin(), alone.hub
    program = await archived_program(admin)
    scope, others = system_scope(TenantId(program)), system_scope(TenantId("another"))
    async with hub.db.transaction(scope) as tx:
        await enqueue(tx, scope, "nobodys-kind", {}, now=hub.clock.now())
        await enqueue(tx, others, "nobodys-kind", {}, now=hub.clock.now())
    await purge_to_the_end(admin, hub, program)
    async with hub.db.reading() as view:
        left = await view.execute(select(jobs.c.tenant_id, jobs.c.kind).order_by(jobs.c.tenant_id))
        assert {tuple(row) for row in left} == {(program, KIND), ("another", "nobodys-kind")}


async def test_what_is_put_in_line_during_a_purge_is_not_done_in_the_program_that_is_made_anew(
    installation: Installation, nobody_works: dict[str, int]
) -> None:
    """An operator may try a job again that was given up, and what comes due by itself does not ask for the program."""
    async with installation.running(**nobody_works) as (app, client):
        alone = Alone(app, client, installation.clock)
        admin, hub = await alone.admin(), alone.hub
        program = await archived_program(admin)
        scope = system_scope(TenantId(program))
        await purge(admin, program)
        async with hub.db.transaction(scope) as tx:
            await enqueue(tx, scope, "nobodys-kind", {}, now=hub.clock.now())
        await hub.jobs.drain()
        async with hub.db.reading() as view:
            left = await view.execute(select(jobs.c.kind).where(jobs.c.tenant_id == program))
            assert list(left.scalars()) == [KIND]


async def test_anchors_of_the_program_are_set_aside(alone: Alone) -> None:
    admin = await alone.admin()
    program, folder = TenantId(await archived_program(admin)), alone.hub.settings.data_dir
    add_anchors(folder, program, [Anchor(3, b"\1" * 32, Millis(0))])
    file = anchor_file(folder, program)
    kept = file.read_text()
    await purge_to_the_end(admin, alone.hub, program)
    assert program not in anchored_tenants(folder)
    [aside] = file.parent.glob(f"{file.name}.purged-*")
    assert aside.read_text() == kept


async def test_what_a_device_did_is_not_written_down_after_the_purge(admin: AsyncClient, hub: Hub) -> None:
    program = await archived_program(admin)
    scope = system_scope(TenantId(program))
    call = hub.devices.call(scope, {"x-device-id": "tablet-7"})
    await purge_to_the_end(admin, hub, program)
    call.pulled(3, scope_hash="x")
    await hub.devices.flush()
    assert await rows_of(hub, program) == {}


# -- who may, and when


async def test_a_running_program_is_not_purged(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await push(admin, program, make_event())
    before = await rows_of(hub, program)
    answer = await purge(admin, program)
    assert (answer.status_code, answer.json()["code"]) == (409, "PROGRAM_NOT_ARCHIVED")
    assert await rows_of(hub, program) == before
    assert (await pull(admin, program)).status_code == 200


async def test_a_restored_program_is_not_purged(admin: AsyncClient) -> None:
    program = await archived_program(admin)
    await admin.post(f"/api/apps/{program}/restore")
    assert (await purge(admin, program)).status_code == 409


async def test_unknown_programs_are_not_found(admin: AsyncClient) -> None:
    for program in ("nowhere", "bad.id", "x" * 600):
        answer = await purge(admin, program)
        assert (answer.status_code, answer.json()["code"]) == (404, "PROGRAM_NOT_FOUND")


async def test_only_administrators_purge(admin: AsyncClient, client: AsyncClient, hub: Hub) -> None:
    program = await archived_program(admin)
    assert (await purge(client, program)).status_code == 401
    assignment = {"tenantId": program, "role": "system-admin"}
    person = await make_person(admin, tenantIds=[program], roleAssignments=[assignment])
    client.headers.update(bearer((await login(client, person))["token"]))
    assert (await purge(client, program)).status_code == 403
    assert await rows_of(hub, program) != {}


@pytest.mark.parametrize(
    "settings", [{"NODE_ENV": "production"}, {"PURGE": "off"}, {"NODE_ENV": "production", "PURGE": False}]
)
async def test_switched_off_the_path_is_unknown(installation: Installation, settings: dict[str, object]) -> None:
    async with installation.running(**settings) as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        program = await archived_program(admin)
        found, unknown = await purge(admin, program), await admin.delete(f"/api/apps/{program}/nonsense")
        assert found.status_code == unknown.status_code == 404
        told = {**unknown.json(), "requestId": found.json()["requestId"]}
        assert found.json() == {
            name: text.replace("nonsense", "purge") if isinstance(text, str) else text for name, text in told.items()
        }
        assert (await admin.get(f"/api/apps/{program}")).status_code == 200


def test_switched_off_it_is_not_described(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path, None, PURGE="off"))
    described = msgspec.json.decode(ApiDescription(app).as_json)["paths"]
    assert "/api/apps/{id}" in described and "/api/apps/{id}/purge" not in described


async def test_switched_on_it_is_there_in_production_too(installation: Installation) -> None:
    async with installation.running(NODE_ENV="production", PURGE="on") as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        assert (await purge(admin, await archived_program(admin))).status_code == 200


async def test_the_security_log_tells_who_did_what_to_which_program(alone: Alone) -> None:
    admin = await alone.admin()
    config = make_config()
    program = config["id"]
    for request in (
        admin.post("/api/apps", json=config),
        admin.put(f"/api/apps/{program}", json=config | {"version": "2"}),
        admin.patch(f"/api/apps/{program}/syncScope", json={"syncScope": None}),
        admin.delete(f"/api/apps/{program}"),
        admin.post(f"/api/apps/{program}/restore"),
        admin.post(f"/api/apps/{program}/versions/1/restore"),
        admin.delete(f"/api/apps/{program}"),
        admin.post("/api/apps", json=config),
        admin.delete(f"/api/apps/{program}"),
        admin.delete(f"/api/apps/{program}/purge"),
    ):
        assert (await request).status_code == 200
    await alone.hub.jobs.drain()
    me = (await admin.get("/api/users/me")).json()["id"]
    entries = (await admin.get("/api/security-log", params={"tenantId": program})).json()["entries"][::-1]
    assert [entry["action"] for entry in entries] == [
        "program.created",
        "program.changed",
        "program.changed",
        "program.archived",
        "program.restored",
        "program.changed",
        "program.archived",
        "program.changed",
        "program.archived",
        "program.purge_begun",
        "program.purged",
    ]
    assert {entry["actorUserId"] for entry in entries} == {me}
    assert all(entry["origin"] and entry["requestId"] for entry in entries[:-1])
    assert [entry["details"] for entry in entries[:3]] == [
        {"revision": 1, "how": "created"},
        {"revision": 2, "how": "replaced"},
        {"revision": 3, "how": "section-changed", "what": "syncScope"},
    ]
    assert entries[7]["details"] == {"revision": 8, "how": "replaced", "restored": True}
    assert entries[-1]["details"]["rows"]["program_versions"] == 9


# -- while it goes on


async def test_a_program_is_gone_at_once_and_its_id_taken_until_its_data_is_gone(
    installation: Installation, nobody_works: dict[str, int]
) -> None:
    async with installation.running(**nobody_works) as (app, client):
        alone = Alone(app, client, installation.clock)
        admin, hub = await alone.admin(), alone.hub
        program = await archived_program(admin)
        artifact = (await admin.get(f"/api/apps/{program}")).json()["artifactId"]
        answer = await purge(admin, program)
        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["finished"]) == ("success", False)
        assert "background" in answer.json()["warning"]
        assert (await rows_of(hub, program))["events"] == 3

        for path in ("", "/public", "/versions", "/versions/1", "/versions/1/diff"):
            assert (await admin.get(f"/api/apps/{program}{path}")).status_code == 404, path
        for path in (f"/artifacts/{artifact}.json", f"/artifacts/{artifact}.png"):
            assert (await admin.get(path)).status_code == 404
        listed = (await admin.get("/api/apps", params={"includeArchived": "true", "search": program})).json()
        assert listed["data"] == []
        for path in ("/api/entities", "/api/entities/count", "/api/integrity", "/api/sync/pull", "/api/conflicts"):
            assert (await admin.get(path, params={"configId": program})).status_code in (400, 404), path
        assert (await push(admin, program, make_event())).status_code == 400
        assert (await admin.post(f"/api/apps/{program}/restore")).status_code == 404
        assert (await admin.put(f"/api/apps/{program}", json=make_config(program))).status_code == 404
        for headers in ({}, {"If-None-Match": "*"}):
            again = await admin.post("/api/apps", json=make_config(program), headers=headers)
            assert (again.status_code, again.json()["code"]) == (409, "PROGRAM_BEING_PURGED")
        account = {"email": "new@hub.test", "password": "Correct-Horse-9", "role": "USER", "tenantIds": [program]}
        assert (await admin.post("/api/users", json=account)).status_code == 400
        assert (await admin.get("/api/users/me")).status_code == 200

        assert (await purge(admin, program)).json()["finished"] is False, "asked again, it tells how far it is"
        await hub.jobs.drain()
        assert await rows_of(hub, program) == {}
        assert (await purge(admin, program)).status_code == 404
        assert (await admin.post("/api/apps", json=make_config(program))).status_code == 200


class Crashing(PurgeHandler):
    """Ends its process in a step, when all that the step does is done but the commit."""

    def __init__(self, inner: Hub, at: int | None) -> None:
        """In which step; None for the last one, which frees the id."""
        super().__init__(inner.db, inner.settings.data_dir, inner.clock, inner.objects, on_changed=inner.auth.forget)
        self.left = at

    async def step(self, tx: Tx, scope: TenantScope, job: Job, result: int | None) -> Step:
        step = await super().step(tx, scope, job, result)
        if self.left is not None:
            self.left -= 1
        if self.left == 0 or (self.left is None and isinstance(step, Done)):
            raise asyncio.CancelledError
        return step


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("at", [1, 3, 5, None])
async def test_after_a_crash_in_the_middle_the_rest_goes(
    installation: Installation, nobody_works: dict[str, int], at: int | None
) -> None:
    async with installation.running(**nobody_works) as (app, client):
        alone = Alone(app, client, installation.clock)
        admin, hub = await alone.admin(), alone.hub
        program = await archived_program(admin, events=110)
        await make_person(admin, tenantIds=[program])
        scope = system_scope(TenantId(program))
        assert not (await purge(admin, program)).json()["finished"]
        with pytest.raises(asyncio.CancelledError):
            await Worker(hub.db, hub.clock, [Crashing(hub, at)]).drain()
        assert (await rows_of(hub, program) != {}) == (at is not None)
        assert (await admin.post("/api/apps", json=make_config(program))).status_code == 409
        alone.clock.turn(seconds=31)
        await hub.jobs.drain()
        assert await rows_of(hub, program) == {}
        async with hub.db.reading(scope) as view:
            job = await find_latest(view, scope, KIND)
        assert job is not None and job.state is JobState.COMPLETED and job.attempt >= 2
        assert job.result is not None
        assert job.result["rows"]["events"] == 110, "nothing is counted twice"
        assert job.result["accounts"] == 1


async def test_a_purge_that_was_given_up_is_taken_up_again(
    installation: Installation, nobody_works: dict[str, int]
) -> None:
    async with installation.running(**nobody_works) as (app, client):
        alone = Alone(app, client, installation.clock)
        admin, hub = await alone.admin(), alone.hub
        program = await archived_program(admin)
        await purge(admin, program)
        async with hub.db.transaction() as tx:
            gone = {"state": "discarded", "finished_ms": hub.clock.now()}
            await tx.execute(jobs.update().where(jobs.c.tenant_id == program).values(gone))
        assert (await admin.post("/api/apps", json=make_config(program))).status_code == 409
        await purge(admin, program)
        await hub.jobs.drain()
        assert await rows_of(hub, program) == {}


async def test_pushes_during_a_purge_leave_nothing_of_the_program_and_go_on_elsewhere(alone: Alone) -> None:
    admin, hub = await alone.admin(), alone.hub
    program, other = await make_program(admin), await make_program(admin)
    assert (await push(admin, program, *(make_event() for _ in range(500)))).status_code == 200
    over = asyncio.Event()
    answered: dict[str, list[int]] = {program: [], other: []}

    async def keep_pushing(to: str, device: str) -> None:
        while not over.is_set():
            body = {"configId": to, "events": [make_event()]}
            answer = await admin.post("/api/sync/push", json=body, headers={"X-Device-Id": device})
            answered[to].append(answer.status_code)
            # A refusal needs nothing that is waited for, so without a network in between nobody else would get a turn.
            await asyncio.sleep(0.005)

    devices = [
        asyncio.create_task(keep_pushing(to, f"{to}-{number}")) for to in (program, other) for number in range(2)
    ]
    await admin.delete(f"/api/apps/{program}")
    before = len(answered[other])
    assert (await purge(admin, program)).status_code == 200
    await hub.jobs.drain()
    meanwhile = len(answered[other]) - before
    over.set()
    await asyncio.gather(*devices)
    await hub.devices.flush()
    assert await rows_of(hub, program) == {}
    assert set(answered[other]) == {200}
    assert meanwhile > 0
    assert set(answered[program]) <= {200, 400}
    assert answered[program][-1] == 400
    assert len(await pull_all(admin, other, limit=1000)) == len(answered[other])


async def test_who_was_let_in_before_is_refused_from_the_beginning_on(
    installation: Installation, nobody_works: dict[str, int]
) -> None:
    """An archived program's log takes no events any more, but it does take what is noted of it: who reads, files."""
    async with installation.running(**nobody_works) as (app, client):
        alone = Alone(app, client, installation.clock)
        admin, hub = await alone.admin(), alone.hub
        program = await archived_program(admin)
        scope = system_scope(TenantId(program))

        async def note_a_reader() -> None:
            async with hub.db.transaction(scope) as tx:
                await note(tx, hub.log, scope, "read-entity", "e", {}, now=hub.clock.now())

        await note_a_reader()
        await purge(admin, program)
        before = await rows_of(hub, program)
        with pytest.raises(TenantUnknown):
            await note_a_reader()
        assert await rows_of(hub, program) == before
        assert before["events"] == 3, "nothing has been deleted yet"


class Overtaken(PurgeHandler):
    """Just before its last step somebody who was let in long ago, and has locked nothing of the program, writes to a table
    that has been emptied."""

    def __init__(self, inner: Hub) -> None:
        super().__init__(inner.db, inner.settings.data_dir, inner.clock, inner.objects, on_changed=inner.auth.forget)
        self._hub = inner
        self.has_written = False

    async def call(self, scope: TenantScope, job: Job, lease: Lease) -> int | None:
        if Progress.at(job.checkpoint).rows_gone and not self.has_written:
            assert await rows_of(self._hub, scope.tenant_id) == {}
            async with self._hub.db.transaction(scope) as tx:
                await tx.execute(device_sync_summary.insert().values(row_of(device_sync_summary, scope.tenant_id)))
            self.has_written = True
        return await super().call(scope, job, lease)


async def test_what_is_written_to_a_table_that_was_emptied_goes_too(
    installation: Installation, nobody_works: dict[str, int]
) -> None:
    async with installation.running(**nobody_works) as (app, client):
        alone = Alone(app, client, installation.clock)
        admin, hub = await alone.admin(), alone.hub
        program = await archived_program(admin)
        await purge(admin, program)
        handler = Overtaken(hub)
        await Worker(hub.db, hub.clock, [handler]).drain()
        assert handler.has_written
        assert await rows_of(hub, program) == {}
        assert (await admin.post("/api/apps", json=make_config(program))).status_code == 200, "the purge has ended"


class Asleep(PurgeHandler):
    """Of a process that stands still, before it deletes the files or at the very beginning, until all is over."""

    def __init__(self, inner: Hub, meanwhile: Callable[[], Awaitable[None]], *, before_files: bool) -> None:
        super().__init__(inner.db, inner.settings.data_dir, inner.clock, inner.objects, on_changed=inner.auth.forget)
        self._meanwhile: Callable[[], Awaitable[None]] | None = meanwhile
        self._before_files = before_files

    async def call(self, scope: TenantScope, job: Job, lease: Lease) -> int | None:
        if self._meanwhile is not None and Progress.at(job.checkpoint).rows_gone is self._before_files:
            meanwhile, self._meanwhile = self._meanwhile, None
            await meanwhile()
        return await super().call(scope, job, lease)


@pytest.mark.parametrize("before_files", [True, False])
async def test_who_stood_still_deletes_nothing_of_the_program_that_is_made_anew(
    installation: Installation, nobody_works: dict[str, int], before_files: bool
) -> None:
    """A process that was stopped, or whose machine slept, went on in the folder, or with the anchors, of another program."""
    async with (
        installation.running(**nobody_works) as (app, client),
        installation.running(**nobody_works) as (asleep, _),
    ):
        alone = Alone(app, client, installation.clock)
        admin, hub, sleeper = await alone.admin(), alone.hub, asleep.state.hub
        program = TenantId(await archived_program(admin))
        await purge(admin, program)

        async def others_go_on() -> None:
            alone.clock.turn(seconds=1001)
            await hub.jobs.drain()
            await make_program(admin, config_id=program)
            await attach(admin, program, await make_entity(admin, program))
            add_anchors(hub.settings.data_dir, program, [Anchor(1, b"\1" * 32, Millis(0))])

        handler = Asleep(sleeper, others_go_on, before_files=before_files)
        # Who stands still does not look at the job meanwhile either.
        await Worker(sleeper.db, sleeper.clock, [handler], lease_seconds=1000, look_seconds=600).drain()
        assert len([item async for item in hub.objects.list(tenant_folder(program))]) == 1
        assert program in anchored_tenants(hub.settings.data_dir)
        assert (await rows_of(hub, program))["events"] == 1


class Undone(Exception):
    """Ends a unit of work that is not to be stored."""


@pytest.fixture
def at_once(alone: Alone) -> Alone:
    """A hub whose database lets several write at once."""
    if alone.hub.db.dialect == "sqlite":
        pytest.skip("one writer: they come one after the other")
    return alone


async def test_a_purge_waits_for_whoever_writes_down_what_devices_did(at_once: Alone) -> None:
    admin, hub = await at_once.admin(), at_once.hub
    program = await archived_program(admin)
    scope = system_scope(TenantId(program))
    call = hub.devices.call(scope, {"x-device-id": "tablet-7"})
    with contextlib.suppress(Undone):
        async with hub.db.transaction(scope) as tx:
            # Of the same device: who writes down has found the program, and waits for this row to be there or not.
            row = row_of(device_sync_summary, program) | {"user_id": "", "device_id": "tablet-7"}
            await tx.execute(device_sync_summary.insert().values(row))
            call.pulled(3, scope_hash="x")
            flush = asyncio.create_task(hub.devices.flush())
            await until_they_wait(hub, 1)
            purging = asyncio.create_task(purge_to_the_end(admin, hub, program))
            await until_they_wait(hub, 2, unless=purging)
            raise Undone
    await asyncio.gather(flush, purging)
    assert await rows_of(hub, program) == {}


async def test_a_purge_waits_for_whoever_is_let_into_the_program(at_once: Alone) -> None:
    admin, hub = await at_once.admin(), at_once.hub
    program = await archived_program(admin)
    account = users.Account("late@hub.test", AccountRole.USER, password_hash="x", tenant_ids=[program])
    async with hub.db.transaction() as tx:
        user_id = await users.create_user(tx, COMMAND_LINE, account, source=None, now=hub.clock.now())
        purging = asyncio.create_task(purge_to_the_end(admin, hub, program))
        await until_they_wait(hub, 1, unless=purging)
    await purging
    assert (await admin.get(f"/api/users/{user_id}")).json()["tenantIds"] == []


async def test_a_purge_waits_for_who_shuts_a_device_out(at_once: Alone) -> None:
    """Else it would be shut out of the next program of the id."""
    admin, hub = await at_once.admin(), at_once.hub
    program = await archived_program(admin)
    scope = system_scope(TenantId(program))
    async with hub.db.transaction(scope) as tx:
        await devices.revoke(tx, scope, "tablet-7", None, now=hub.clock.now())
        purging = asyncio.create_task(purge_to_the_end(admin, hub, program))
        await until_they_wait(hub, 1, unless=purging)
    await purging
    assert await rows_of(hub, program) == {}
    with pytest.raises(TenantUnknown):
        async with hub.db.transaction(scope) as tx:
            await devices.revoke(tx, scope, "tablet-7", None, now=hub.clock.now())


async def archive_and_purge(admin: AsyncClient, hub: Hub, program: str) -> None:
    assert (await admin.delete(f"/api/apps/{program}")).status_code == 200
    await purge_to_the_end(admin, hub, program)


async def test_a_purge_waits_for_a_citizen_who_is_sent_a_code(at_once: Alone) -> None:
    admin, hub = await at_once.admin(), at_once.hub
    program = await make_open_program(admin, "otp")
    await make_citizen(admin, program, phone="+1555")
    scope, now = system_scope(TenantId(program)), hub.clock.now()
    with contextlib.suppress(Undone):
        async with hub.db.transaction(scope) as tx:
            await use_budget(tx, scope, day_of(now), cost=1)
            body = {"identifier": "+1555", "tenantId": program}
            asking = asyncio.create_task(admin.post("/api/auth/otp/request", json=body))
            await until_they_wait(hub, 1)
            purging = asyncio.create_task(archive_and_purge(admin, hub, program))
            await until_they_wait(hub, 2, unless=purging)
            raise Undone
    await asyncio.gather(asking, purging)
    assert await rows_of(hub, program) == {}


async def test_a_purge_waits_for_who_says_something_about_a_review(at_once: Alone) -> None:
    admin, hub = await at_once.admin(), at_once.hub
    program = await make_program(admin)
    sent = await admin.post("/api/reviews/submit", json={"tenantId": program, "formData": make_event()})
    scope = (await hub.auth.staff(admin.headers["Authorization"])).in_tenant(TenantId(program), Action.READ)
    assert (await admin.delete(f"/api/apps/{program}")).status_code == 200
    async with hub.db.transaction(scope) as tx:
        await comment_on(tx, scope, sent.json()["review"]["id"], "x", now=hub.clock.now())
        purging = asyncio.create_task(purge_to_the_end(admin, hub, program))
        await until_they_wait(hub, 1, unless=purging)
    await purging
    assert await rows_of(hub, program) == {}


async def until_they_wait(hub: Hub, count: int, *, unless: asyncio.Task[Any] | None = None) -> None:
    """Until so many units of work wait for what others have locked, or that has ended for which nobody waits."""
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    async with asyncio.timeout(60):
        while not (unless and unless.done()):
            async with hub.db.reading() as view:
                if len(await view.fetch(waiting)) >= count:
                    return


async def test_two_that_purge_at_once_are_both_told(alone: Alone) -> None:
    admin = await alone.admin()
    program = await archived_program(admin)
    answers = await asyncio.gather(*(purge(admin, program) for _ in range(4)))
    await alone.hub.jobs.drain()
    assert 200 in {answer.status_code for answer in answers} <= {200, 404}
    assert await rows_of(alone.hub, program) == {}


async def test_a_purge_and_an_upload_at_once_leave_one_of_both(alone: Alone) -> None:
    admin, hub = await alone.admin(), alone.hub
    for _ in range(3):
        program = await archived_program(admin)
        purged, uploaded = await asyncio.gather(
            purge(admin, program), admin.post("/api/apps", json=make_config(program))
        )
        await hub.jobs.drain()
        assert (purged.status_code, uploaded.status_code) in {(200, 409), (409, 200), (200, 200)}
        is_there = (await admin.get(f"/api/apps/{program}")).status_code == 200
        assert is_there == (uploaded.status_code == 200)
        if purged.status_code == 200:
            assert (await rows_of(hub, program)).get("events", 0) == 0


# -- afterwards


async def test_a_program_made_anew_is_a_strangers_to_its_old_members(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    program, other = await make_program(admin), await make_program(admin)
    roles = [{"tenantId": one, "role": "supervisor"} for one in (program, other)]
    person = await make_person(admin, tenantIds=[program, other], roleAssignments=roles)
    client.headers.update(bearer((await login(client, person))["token"]))
    assert (await pull(client, program)).status_code == 200
    await admin.delete(f"/api/apps/{program}")
    await purge_to_the_end(admin, hub, program)
    await make_program(admin, config_id=program)
    assert (await pull(client, program)).status_code == 403
    assert (await pull(client, other)).status_code == 200, "the session goes on"
    account = (await admin.get(f"/api/users/{person.id}")).json()
    assert (account["tenantIds"], account["roleAssignments"]) == ([other], roles[1:])
    [entry] = (
        await admin.get("/api/security-log", params={"userId": str(person.id), "action": "user.changed"})
    ).json()["entries"]
    assert entry["tenantId"] == program
    assert entry["details"]["programs"] == {program: {"from": "supervisor", "to": None}}


async def test_many_members_lose_the_program(alone: Alone) -> None:
    admin = await alone.admin()
    program = await archived_program(admin)
    people = [await make_person(admin, tenantIds=[program]) for _ in range(30)]
    await purge_to_the_end(admin, alone.hub, program)
    assert (await admin.get("/api/users", params={"tenantId": program})).json() == []
    for person in people:
        assert (await admin.get(f"/api/users/{person.id}")).json()["tenantIds"] == []


async def test_a_device_of_the_old_program_gets_everything_of_the_new_one(admin: AsyncClient, hub: Hub) -> None:
    seeds = [{"name": "individual", "data": [{"id": f"{new_id()}-{n}", "name": f"Seed {n}"} for n in range(5)]}]
    program = await make_program(admin, entityData=seeds)
    await push(admin, program, make_event(), make_event())
    old = await pull_all(admin, program, limit=100)
    cursors = [f"{event['timestamp']}|{event['guid']}" for event in old]
    await admin.delete(f"/api/apps/{program}")
    await purge_to_the_end(admin, hub, program)
    await make_program(admin, config_id=program, entityData=seeds)
    await push(admin, program, make_event())
    new = [event["guid"] for event in await pull_all(admin, program, limit=100)]
    assert len(new) == 6
    # Of seeds too, whose guids are the same in both.
    assert {event["guid"] for event in old} & set(new)
    for cursor in cursors:
        assert [event["guid"] for event in await pull_all(admin, program, cursor, limit=100)] == new


async def test_what_is_known_of_a_purged_program_is_nothing_known_of_the_one_made_anew(
    admin: AsyncClient, hub: Hub
) -> None:
    """Both are at revision 1: its reader went on with the old one, and a change meant for that one was made."""
    config = make_config()
    path = f"/api/apps/{config['id']}"
    await admin.post("/api/apps", json=config)
    tag = (await admin.get(path)).headers["ETag"]
    await admin.delete(path)
    await purge_to_the_end(admin, hub, config["id"])
    await admin.post("/api/apps", json=config | {"name": "Another"})
    answer = await admin.get(path, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.json()["name"]) == (200, "Another")
    assert (await admin.put(path, json=config, headers={"If-Match": tag})).status_code == 412
    assert (await admin.put(path, json=config, headers={"If-Match": answer.headers["ETag"]})).status_code == 200


async def test_a_program_made_anew_has_another_artifact_and_begins_at_revision_one(
    admin: AsyncClient, hub: Hub
) -> None:
    program = await archived_program(admin)
    artifact = (await admin.get(f"/api/apps/{program}")).json()["artifactId"]
    await purge_to_the_end(admin, hub, program)
    answer = await admin.post("/api/apps", json=make_config(program))
    assert answer.json()["artifactId"] != artifact
    assert answer.headers["ETag"].startswith('"1.')
    assert (await admin.get(f"/artifacts/{artifact}.json")).status_code == 404
    versions = (await admin.get(f"/api/apps/{program}/versions")).json()["versions"]
    assert [version["action"] for version in versions] == ["created"]
