"""Exports while others write, readers leave or stall, and the database breaks: what is sent, and what is let go of."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy import update

from datacollect.assembly import create_importer
from datacollect.eventstore.tables import events
from datacollect.features.exports import answering
from datacollect.features.exports.answering import ExportAnswer
from datacollect.features.exports.errors import RightWithdrawn
from datacollect.features.exports.model import Format, Order, What
from datacollect.features.exports.service import Exporter
from datacollect.http.guard import TookTooLong
from datacollect.http.hub import Hub
from datacollect.kernel.errors import Unavailable
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from tests.accounts import Person, bearer, login, make_person
from tests.conftest import asgi_client
from tests.factories import make_event, make_program, new_id, pull_audit, push

pytestmark = pytest.mark.anyio


class Reader:
    """Reads an answer piece by piece, and may stop or leave."""

    def __init__(self, app: FastAPI, token: str, program: str, query: str = "format=json") -> None:
        self.status = 0
        self.body = b""
        self.is_whole = False
        self.pieces = 0
        self._may_send = asyncio.Semaphore(0)
        self._sent = asyncio.Event()
        self._gone = asyncio.Event()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/api/entities/export",
            "raw_path": b"/api/entities/export",
            "root_path": "",
            "query_string": f"configId={program}&{query}".encode(),
            "headers": [(b"host", b"hub.test"), (b"authorization", f"Bearer {token}".encode())],
            "client": ("127.0.0.1", 1),
            "server": ("hub.test", 80),
        }
        self.answering = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    _asked = False

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        await self._may_send.acquire()
        self.body += message.get("body", b"")
        self.is_whole = not message.get("more_body", False)
        self.pieces += 1
        self._sent.set()

    async def read(self, pieces: int = 1) -> None:
        """The next pieces, and not one more."""
        for _ in range(pieces):
            self._sent.clear()
            self._may_send.release()
            waiting = asyncio.create_task(self._sent.wait())
            await asyncio.wait((waiting, self.answering), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()

    async def read_on(self) -> None:
        """To the end, however it ends."""
        while not self.answering.done():
            await self.read()

    async def leave(self) -> None:
        self._gone.set()
        await asyncio.wait((self.answering,))


Read = Callable[..., Reader]


@pytest.fixture
async def reads(app: FastAPI) -> AsyncIterator[Read]:
    """Makes readers; a test that fails must not leave one that takes a place."""
    made: list[Reader] = []

    def read(token: str, program: str, query: str = "format=json") -> Reader:
        made.append(Reader(app, token, program, query))
        return made[-1]

    yield read
    for reader in made:
        reader.answering.cancel()
    if made:
        await asyncio.wait([reader.answering for reader in made])


async def large(admin: AsyncClient, entities: int = 1500) -> str:
    program = await make_program(admin)
    made = [make_event(data={"name": f"N {number}", "entityName": "individual"}) for number in range(entities)]
    for begin in range(0, entities, 1000):
        answer = await push(admin, program, *made[begin : begin + 1000])
        assert answer.status_code == 200, answer.text
    return program


def places(hub: Hub) -> int:
    assert isinstance(hub.exports, Exporter)
    return hub.exports.places.taken


async def outcomes(admin: AsyncClient, program: str) -> list[str]:
    trail = (await pull_audit(admin, program, limit=5000)).json()
    return [entry["changes"]["outcome"] for entry in trail if entry["action"] == "export-ended"]


async def test_what_is_pushed_meanwhile_is_not_in_it_and_nobody_waits(
    reads: Read, hub: Hub, admin: AsyncClient, admin_token: str, tmp_path: Path
) -> None:
    program = await large(admin)
    reader = reads(admin_token, program)
    await reader.read(3)
    entity = json.loads(reader.body.splitlines()[2].rstrip(b","))["guid"]
    answer = await push(
        admin,
        program,
        make_event("update-individual", entity=entity, data={"name": "Later"}),
        make_event("delete-entity", entity=entity, data={"reason": "x"}),
        *[make_event(data={"name": "New"}) for _ in range(300)],
    )
    assert answer.status_code == 200
    await reader.read_on()
    assert reader.is_whole
    document = json.loads(reader.body)
    assert (len(document["entities"]), len(document["events"])) == (1500, 1500)
    # Nothing compares the two more closely than an import does.
    file = tmp_path / "export.json"
    file.write_bytes(reader.body)
    importer = create_importer(hub.db)
    assert (await importer.take_in(file, tenant_id=TenantId(new_id()))).entities == 1500


async def test_nothing_is_read_for_a_reader_that_does_not_read(
    reads: Read, hub: Hub, admin: AsyncClient, admin_token: str
) -> None:
    program = await large(admin)
    reader = reads(admin_token, program, "format=csv&form=individual")
    await reader.read(3)
    with hub.db.statements.record() as statements:
        for _ in range(200):
            await asyncio.sleep(0)
    assert statements == []
    assert len(reader.body) < 100_000
    await reader.leave()


@pytest.mark.parametrize("query", ["format=json", "format=csv", "format=xlsx", "format=ndjson&what=events"])
async def test_a_reader_that_leaves_leaves_nothing_behind(
    reads: Read, hub: Hub, admin: AsyncClient, admin_token: str, query: str
) -> None:
    program = await large(admin)
    for pieces in range(1, 20):  # more often than there are connections
        reader = reads(admin_token, program, query)
        await reader.read(pieces % 3 + 1)
        await reader.leave()
        assert (reader.is_whole, reader.answering.exception()) == (False, None)
        assert places(hub) == 0
    assert await outcomes(admin, program) == ["cut-off"] * 19
    whole = reads(admin_token, program, query)
    await whole.read_on()
    assert whole.is_whole


async def test_what_breaks_in_the_middle_does_not_look_whole(
    reads: Read, hub: Hub, admin: AsyncClient, admin_token: str
) -> None:
    program = await large(admin)
    scope = system_scope(TenantId(program))
    async with hub.db.transaction(scope) as tx:
        row = (events.c.tenant_id == program) & (events.c.position == 1200)
        await tx.execute(update(events).where(row).values(origin="moon"))
    reader = reads(admin_token, program)
    await reader.read_on()
    assert (reader.status, reader.is_whole) == (200, False)
    assert isinstance(reader.answering.exception(), Exception)
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(reader.body)
    assert places(hub) == 0
    assert await outcomes(admin, program) == ["cut-off"]


async def test_a_database_that_ends_the_connection_ends_the_export(
    reads: Read, hub: Hub, admin: AsyncClient, admin_token: str
) -> None:
    if hub.db.dialect == "sqlite":
        pytest.skip("nobody can end a connection of SQLite")
    program = await large(admin)
    reader = reads(admin_token, program)
    await reader.read(2)
    resting = (
        "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        # Of those that rest, the one that goes on seeing what it saw at first.
        " AND state = 'idle in transaction' AND backend_xmin IS NOT NULL"
    )
    seen: Sequence[Any] = ()
    ended: Sequence[Any] = ()
    async with asyncio.timeout(10):
        while not ended:  # it may still be fetching the page that nobody takes
            # One that begins a statement while it is looked at is taken for one that rests: only who
            # has not stirred since the look before does.
            async with hub.db.transaction() as tx:
                for pid, since in seen:
                    still = f"SELECT pg_terminate_backend(pid) {resting} AND pid = $1 AND state_change = $2"
                    ended = await tx.fetch(still, pid, since)
            async with hub.db.transaction() as tx:
                seen = await tx.fetch(f"SELECT pid, state_change {resting}")
    await reader.read_on()
    assert not reader.is_whole
    ended_by = reader.answering.exception()
    assert ended_by is not None and isinstance(ended_by.__cause__, Unavailable)
    assert places(hub) == 0
    assert await outcomes(admin, program) == ["cut-off"]


async def test_an_account_has_one_export_at_a_time_and_the_hub_a_few(
    app: FastAPI, reads: Read, hub: Hub, admin: AsyncClient, admin_token: str
) -> None:
    program = await large(admin, 300)
    tokens = []
    async with asgi_client(app) as client:
        for _ in range(2):
            assignment = {"tenantId": program, "role": "program-admin"}
            person = await make_person(admin, tenantIds=[program], roleAssignments=[assignment])
            tokens.append((await login(client, person))["token"])
        first, second = reads(admin_token, program), reads(tokens[0], program)
        await first.read()
        await second.read()
        query = {"configId": program}
        again = await admin.get("/api/entities/export", params=query)
        assert (again.status_code, again.json()["code"]) == (429, "EXPORT_UNDER_WAY")
        third = await client.get("/api/entities/export", params=query, headers=bearer(tokens[1]))
        assert (third.status_code, third.json()["code"]) == (503, "EXPORTS_BUSY")
        assert "retry-after" in again.headers and "retry-after" in third.headers
        await first.leave()
        await second.read_on()
        assert second.is_whole
        third = await client.get("/api/entities/export", params=query, headers=bearer(tokens[1]))
        assert third.status_code == 200


Withdraw = Callable[[AsyncClient, str, Person], Awaitable[Any]]


def changed(**account: Any) -> Withdraw:
    async def change(admin: AsyncClient, program: str, person: Person) -> Any:
        roles = [{"tenantId": program} | one for one in account.get("roleAssignments", [])]
        given = {"email": person.email, "role": "USER"} | account
        return await admin.put(f"/api/users/{person.id}", json=given | ({"roleAssignments": roles} if roles else {}))

    return change


WITHDRAWALS: dict[str, Withdraw] = {
    "role": changed(roleAssignments=[{"role": "supervisor"}]),
    "areas": changed(roleAssignments=[{"role": "program-admin", "syncScopeOverride": {"areaIds": ["A1"]}}]),
    "membership": changed(tenantIds=[]),
    "password": changed(password="Other-Horse-9"),
    "sign-in": lambda admin, program, person: admin.delete(f"/api/users/{person.id}/sessions"),
    "account": lambda admin, program, person: admin.delete(f"/api/users/{person.id}"),
    "program": lambda admin, program, person: admin.delete(f"/api/apps/{program}"),
}


@pytest.mark.parametrize("what", WITHDRAWALS)
async def test_an_export_ends_unfinished_when_its_taker_may_not_have_it_any_more(
    app: FastAPI, reads: Read, admin: AsyncClient, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(answering, "RECHECK_SECONDS", 0)
    program = await large(admin)
    async with asgi_client(app) as client:
        assignment = {"tenantId": program, "role": "program-admin"}
        person = await make_person(admin, tenantIds=[program], roleAssignments=[assignment])
        token = (await login(client, person))["token"]
    reader = reads(token, program, "format=csv&form=individual")
    await reader.read(3)
    assert not reader.answering.done()
    answer = await WITHDRAWALS[what](admin, program, person)
    assert answer.status_code < 300, answer.text
    with structlog.testing.capture_logs() as lines:
        await reader.read_on()
    assert (reader.status, reader.is_whole) == (200, False)
    ended_by = reader.answering.exception()
    assert ended_by is not None and isinstance(ended_by.__cause__, RightWithdrawn)
    assert reader.pieces <= 5
    warned = [line["event"] for line in lines if line["log_level"] != "info"]
    assert warned[-2:] == ["export.right_withdrawn", "request.cut_off"]
    if what != "program":
        assert await outcomes(admin, program) == ["cut-off"]


async def nothing_changes() -> None:
    return


async def test_a_reader_that_takes_nothing_is_let_go(hub: Hub, admin: AsyncClient) -> None:
    program = await large(admin, 300)
    order = Order(Format.NDJSON, What.EVENTS)
    answer = ExportAnswer(
        hub.exports,
        system_scope(TenantId(program)),
        Tenant(TenantId(program), "P"),
        order,
        headers={},
        require_still=nothing_changes,
        stall_seconds=0.01,
    )

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def receive() -> Any:
        return await asyncio.Event().wait()

    with pytest.raises(TookTooLong):
        await answer({"type": "http"}, receive, send)
    assert places(hub) == 0
    assert await outcomes(admin, program) == ["cut-off"]


async def test_an_export_of_a_purged_program_is_not_noted_in_the_one_that_has_its_id(
    hub: Hub, admin: AsyncClient
) -> None:
    program = await make_program(admin)
    scope, order = system_scope(TenantId(program)), Order(Format.NDJSON, What.ENTITIES)
    async with hub.exports.export(scope, Tenant(TenantId(program), "P"), order):
        assert (await admin.delete(f"/api/apps/{program}")).status_code == 200
        await admin.delete(f"/api/apps/{program}/purge")
        await hub.jobs.drain()
        await make_program(admin, config_id=program)
    assert await outcomes(admin, program) == []


async def test_the_end_is_noted_of_whoever_leaves_while_the_beginning_is(hub: Hub, admin: AsyncClient) -> None:
    program, other = await make_program(admin), await make_program(admin)
    scope, order = system_scope(TenantId(program)), Order(Format.NDJSON, What.ENTITIES)

    async def take() -> None:
        async with hub.exports.export(scope, Tenant(TenantId(program), "P"), order):
            raise AssertionError("it was cancelled before")

    async def write(has_begun: asyncio.Event, may_end: asyncio.Event) -> None:
        async with hub.db.transaction(system_scope(TenantId(other))):
            has_begun.set()
            await may_end.wait()

    begun, may_end = [asyncio.Event(), asyncio.Event()], [asyncio.Event(), asyncio.Event()]
    first = asyncio.create_task(write(begun[0], may_end[0]))
    await begun[0].wait()
    taking = asyncio.create_task(take())
    second = asyncio.create_task(write(begun[1], may_end[1]))
    await asyncio.sleep(0)
    may_end[0].set()
    # On SQLite the beginning is written by now, and committed with what comes behind it.
    await begun[1].wait()
    taking.cancel()
    may_end[1].set()
    await asyncio.wait((first, taking, second))
    trail = (await pull_audit(admin, program)).json()
    told = [entry["action"] for entry in trail if entry["action"].startswith("export")]
    assert told == ["export-begun", "export-ended"]
