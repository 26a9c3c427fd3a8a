"""Exchanging with an OpenFn workflow, through the hub and over a real socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.app import create_app
from datacollect.http.hub import Hub
from datacollect.jobs import JobId
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.openfn import OpenFnWorkflow
from datacollect.testing.remote import Instead, Late
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, ENGINES, Migrated, asgi_client, make_settings
from tests.factories import make_event, make_program, pull_all, push

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 60
FORM = {"id": "f1", "name": "individual", "title": "Person", "entityType": "individual", "formio": {"components": []}}


@pytest.fixture(scope="module", params=ENGINES)
async def reaching(
    request: pytest.FixtureRequest,
    anyio_backend: str,
    migrated_once: Migrated,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Hub, AsyncClient]]:
    """A hub that may call this machine, and its administrator."""
    folder = tmp_path_factory.mktemp("reaching")
    async with migrated_once.database(request.param, request, folder) as url:
        settings = make_settings(folder, url, ALLOWED_PRIVATE_HOSTS="127.0.0.1")
        app = create_app(settings)
        async with app.router.lifespan_context(app), asgi_client(app) as client:
            signed_in = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
            client.headers["Authorization"] = f"Bearer {signed_in.json()['token']}"
            yield app.state.hub, client


class Program:
    """One that exchanges with a workflow."""

    def __init__(self, hub: Hub, admin: AsyncClient, id: str) -> None:
        self.hub, self.admin, self.id = hub, admin, id

    async def start(self) -> str:
        answer = await self.admin.post("/api/sync/external", json={"configId": self.id})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["jobId"])

    async def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.admin.get(f"/api/sync/external/{job_id}")).json()
        return found

    async def ended(self, job_id: str) -> dict[str, Any]:
        scope = system_scope(TenantId(self.id))
        await self.hub.jobs.wait_for(scope, JobId(job_id), seconds=PATIENCE_SECONDS)
        return await self.job(job_id)

    async def run(self) -> dict[str, Any]:
        return await self.ended(await self.start())

    async def save(self, *guids: str, type: str = "create-individual", **data: Any) -> None:
        events = [make_event(type, entity=guid, data={"entityName": "individual", **data}) for guid in guids]
        assert (await push(self.admin, self.id, *events)).status_code == 200

    async def entity(self, guid: str) -> Any:
        answer = await self.admin.get(f"/api/entities/{guid}", params={"configId": self.id})
        return answer.json() if answer.status_code == 200 else None

    async def events(self) -> list[dict[str, Any]]:
        return await pull_all(self.admin, self.id, limit=1000)


@pytest.fixture
def workflow() -> Iterator[OpenFnWorkflow]:
    with OpenFnWorkflow() as workflow:
        yield workflow


async def program_of(reaching: tuple[Hub, AsyncClient], workflow: OpenFnWorkflow, **options: Any) -> Program:
    hub, admin = reaching
    config = {"apiKey": workflow.api_key, **options}
    section = {"type": "openfn-adapter", "url": workflow.url, "adapterConfig": config}
    return Program(hub, admin, await make_program(admin, externalSync=section, entityForms=[FORM]))


def moved(job: dict[str, Any]) -> tuple[str, int, int, int]:
    return job["status"], job["pushed"], job["pulled"], job["failed"]


async def test_all_kinds_and_deletions_are_sent_once(
    reaching: tuple[Hub, AsyncClient], workflow: OpenFnWorkflow
) -> None:
    program = await program_of(reaching, workflow)
    await program.save("in-1", "in-2", name="Ada")
    await program.save("hh-1", type="create-group", name="Household", members=[{"guid": "in-1", "name": "Ada"}])
    await program.save("re-1", type="create-record", score=7)
    assert moved(await program.run()) == ("success", 4, 0, 0)
    assert {guid: record["type"] for guid, record in workflow.records.items()} == {
        "in-1": "individual",
        "in-2": "individual",
        "hh-1": "group",
        "re-1": "record",
    }
    assert workflow.records["hh-1"]["members"] == [{"guid": "in-1"}]

    assert moved(await program.run()) == ("success", 0, 0, 0)
    await program.save("in-2", type="delete-entity")
    assert moved(await program.run()) == ("success", 1, 0, 0)
    assert (workflow.deleted, workflow.doubled, workflow.repeated) == ({"in-2"}, [], 0)


async def test_an_item_without_a_type_updates_the_record_it_names_and_nothing_twice(
    reaching: tuple[Hub, AsyncClient], workflow: OpenFnWorkflow
) -> None:
    program = await program_of(reaching, workflow)
    await program.save("h-0001", name="Ada", phone="1")  # as seeds are called: no UUID
    await program.run()
    workflow.give(
        {"entityGuid": "h-0001", "data": {"phone": "2"}, "timestamp": "2025-09-01T10:00:00Z"},
        {"id": "intake-7", "entityName": "individual", "name": "Grace", "timestamp": "2025-09-01T10:00:00Z"},
    )
    assert moved(await program.run()) == ("success", 0, 2, 0)
    ada = await program.entity("h-0001")
    assert (ada["data"]["phone"], ada["data"]["name"]) == ("2", "Ada")
    (grace,) = [event for event in await program.events() if event["data"].get("name") == "Grace"]
    assert (grace["type"], grace["userId"]) == ("create-individual", "external-system")

    before = await program.events()
    assert moved(await program.run()) == ("success", 0, 0, 0)
    assert await program.events() == before, "nothing is stored in a run in which nothing changed"
    assert len(workflow.records) == 1, "what came from there is not sent back"


async def test_items_choose_neither_user_nor_level_nor_what_the_hub_keeps(
    reaching: tuple[Hub, AsyncClient], workflow: OpenFnWorkflow
) -> None:
    program = await program_of(reaching, workflow)
    await program.save("in-1", name="Ada")
    spoofed = {"userId": "admin@hub.test", "syncLevel": 0, "timestamp": "2025-09-01T10:00:00Z"}
    workflow.give(
        {"type": "update-individual", "entityGuid": "in-1", "data": {"name": "Eve", "externalId": "x"}, **spoofed},
        {"type": "delete-entity", "entityGuid": "in-1", "data": {}, **spoofed},
        {"type": "resolve-conflict", "entityGuid": "in-1", "data": {}, **spoofed},
    )
    job = await program.run()
    assert (job["status"], job["pulled"], job["failed"]) == ("partial", 1, 2)
    assert {error["code"] for error in job["errors"]} == {"PULL_APPLY_FAILED"}
    (event,) = [event for event in await program.events() if event["data"].get("name") == "Eve"]
    assert (event["userId"], event["syncLevel"], event["data"]) == ("external-system", 2, {"name": "Eve"})
    entity = await program.entity("in-1")
    assert (entity["data"]["name"], entity["data"]["externalId"]) == ("Eve", "in-1"), "the key is what named it"


async def test_a_batch_that_fails_is_sent_again_by_the_next_run_and_the_others_are_not(
    reaching: tuple[Hub, AsyncClient], workflow: OpenFnWorkflow
) -> None:
    program = await program_of(reaching, workflow, batchSize=2)
    await program.save(*(f"in-{number}" for number in range(6)), name="Ada")
    workflow.faults.add(Instead(422), times=None, matches=lambda request: b'"in-3"' in request.body)
    job = await program.run()
    assert moved(job) == ("partial", 5, 0, 1)
    assert [(error["entityGuid"], error["code"]) for error in job["errors"]] == [("in-3", "PUSH_BATCH_FAILED")]
    workflow.faults.clear()
    assert moved(await program.run()) == ("success", 0, 0, 0), "it is not tried again until something changes"
    await program.save("in-3", type="update-individual", phone="1")
    assert moved(await program.run()) == ("success", 1, 0, 0)
    assert (len(workflow.records), workflow.repeated, workflow.doubled) == (6, 0, [])


async def test_systems_that_never_answer_keep_nobody_else_waiting(
    reaching: tuple[Hub, AsyncClient], workflow: OpenFnWorkflow
) -> None:
    with contextlib.ExitStack() as running:
        dead: list[tuple[Program, str]] = []
        for _ in range(3):
            hanging = running.enter_context(OpenFnWorkflow())
            hanging.faults.add(Late(600), times=None)
            program = await program_of(reaching, hanging)
            await program.save(*(f"in-{number}" for number in range(300)), name="Ada")
            dead.append((program, await program.start()))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not hanging.asked:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        other = await program_of(reaching, workflow)
        await other.save("in-1", name="Grace")
        assert moved(await other.run()) == ("success", 1, 0, 0)
        for program, job_id in dead:
            assert (await program.job(job_id))["phase"] == "pushing", "the others have not waited for these"
            assert (await program.admin.post(f"/api/sync/external/{job_id}/cancel")).status_code == 200
        for program, job_id in dead:
            assert (await program.ended(job_id))["phase"] == "cancelled"
