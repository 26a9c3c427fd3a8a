"""The sample programs in `examples/` work as a newcomer meets them: upload, sign in, sync, look."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.features.tenants.accepting import accept
from datacollect.kernel.tenancy import CUSTOM_EVENT_TYPES
from tests.accounts import login, make_person
from tests.conftest import asgi_client
from tests.factories import new_id, pull_all

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = ("household-registry", "attendance-tracking", "entitlement-redemption")


def read(name: str) -> Any:
    return json.loads((EXAMPLES / name).read_text())


@dataclass
class Played:
    """A sample program under an id of its own, as one of its people sees it."""

    program: str
    client: AsyncClient

    async def get(self, path: str, **parameters: str) -> Any:
        answer = await self.client.get(path, params={"configId": self.program} | parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def push(self, body: Any) -> Any:
        return await self.client.post("/api/sync/push", json=body | {"configId": self.program})

    async def pull(self) -> list[dict[str, Any]]:
        return await pull_all(self.client, self.program, limit=100)

    async def data_of(self, guid: str) -> Any:
        return (await self.get(f"/api/entities/{guid}"))["data"]


Join = Callable[[str, str], Awaitable[Played]]


@pytest.fixture
async def join(app: FastAPI, admin: AsyncClient, client: AsyncClient) -> AsyncIterator[Join]:
    """Somebody new with that role in that program, signed in."""
    async with contextlib.AsyncExitStack() as clients:

        async def join(program: str, role: str) -> Played:
            person = await make_person(admin, roleAssignments=[{"tenantId": program, "role": role}])
            token = (await login(client, person))["token"]
            own = await clients.enter_async_context(asgi_client(app, token))
            own.headers["X-Device-Id"] = "tablet-07"
            return Played(program, own)

        yield join


@pytest.fixture
def play(admin: AsyncClient, join: Join) -> Callable[[str], Awaitable[Played]]:
    """Upload a sample, and take part in it as an enumerator."""

    async def play(sample: str) -> Played:
        program = new_id(sample)
        document = read(f"{sample}.json") | {"id": program}
        answer = await admin.post("/api/apps", json=document)
        # The hub of these tests has no way to send codes, and says so.
        warnings = accept(document, sends_codes=False).warnings
        assert (answer.status_code, answer.json().get("warnings")) == (200, warnings or None), answer.text
        assert len(warnings) <= 1
        return await join(program, "enumerator")

    return play


Play = Callable[[str], Awaitable[Played]]


@pytest.mark.parametrize("sample", PROGRAMS)
def test_a_sample_is_stored_as_it_is_written(sample: str) -> None:
    document = read(f"{sample}.json")
    accepted = accept(document)
    assert accepted.warnings == []
    assert accepted.document == document
    assert document["id"] == sample


@pytest.mark.parametrize("sample", PROGRAMS)
async def test_an_agent_pushes_the_sample_events_and_gets_them_back(play: Play, sample: str) -> None:
    played = await play(sample)
    seeds = {event["guid"] for event in await played.pull()}
    assert seeds
    sent = read(f"{sample}.events.json")["events"]
    for _ in range(2):
        answer = await played.push(read(f"{sample}.events.json"))
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"status": "success", "applied": len(sent), "failed": [], "errors": []}
    got = {event["guid"]: event for event in await played.pull()}
    assert [{**got[event["guid"]], "syncLevel": 0} for event in sent] == sent


async def test_the_household_registry_shows_people_who_moved(play: Play) -> None:
    played = await play("household-registry")
    await played.push(read("household-registry.events.json"))
    assert await played.get("/api/entities/count-by-form") == {"household": 4, "individual": 7, "visit": 1}
    members = await played.get("/api/entities/hh-101/members")
    assert [member["name"] for member in members] == ["Samira Haddad", "Karim Haddad", "Luis Rivera"]
    assert [member["name"] for member in await played.get("/api/entities/hh-001/members")] == [
        "Ana Rivera",
        "Inés Rivera",
    ]
    assert (await played.data_of("hh-002"))["waterSource"] == "well"


async def test_attendance_is_counted_by_the_hub(play: Play) -> None:
    played = await play("attendance-tracking")
    await played.push(read("attendance-tracking.events.json"))
    attendance = (await played.data_of("learner-2"))["attendance"]
    assert {key: attendance[key] for key in ("totalSessions", "attended", "late", "absent")} == {
        "totalSessions": 3,
        "attended": 2,
        "late": 1,
        "absent": 1,
    }
    assert attendance["lastAttended"] == "2026-11-05"
    assert attendance["byProgram"]["reading"]["attended"] == 1
    assert (await played.data_of("learner-5"))["attendance"]["attended"] == 2
    assert await played.get("/api/entities/count-by-form") == {"centre": 2, "learner": 5, "session": 5}


async def test_an_attendance_form_that_is_filled_in_wrongly_is_refused(play: Play) -> None:
    played = await play("attendance-tracking")
    body = read("attendance-tracking.events.json")
    body["events"][0]["data"]["cardNumber"] = "5"
    answer = await played.push(body)
    assert (answer.status_code, answer.json()["failed"][0]["code"]) == (422, "FORM_MISMATCH")


async def test_entitlements_are_collected_and_a_supervisor_takes_one_back(play: Play, join: Join) -> None:
    played = await play("entitlement-redemption")
    await played.push(read("entitlement-redemption.events.json"))
    redeemed = {item["id"]: item["redeemed"] for item in (await played.data_of("ration-1"))["entitlements"]}
    assert redeemed == {"rice-2026-11": 30, "oil-2026-11": 4.5}
    assert (await played.data_of("ration-2"))["pendingProgramEnrolments"][0]["programId"] == 7

    refused = await played.push(read("entitlement-redemption.correction.json"))
    assert (refused.status_code, refused.json()["failed"][0]["code"]) == (422, "UNAUTHORIZED")
    supervisor = await join(played.program, "supervisor")
    corrected = await supervisor.push(read("entitlement-redemption.correction.json"))
    assert corrected.status_code == 200, corrected.text
    [rice, _oil] = (await played.data_of("ration-3"))["entitlements"]
    assert rice["redeemed"] == 5
    assert (await played.data_of("complaint-1"))["settled"] is True


def test_the_samples_show_every_custom_event_type() -> None:
    used = {
        event["type"]
        for file in EXAMPLES.glob("*.json")
        if "events" in (body := json.loads(file.read_text()))
        for event in body["events"]
    }
    assert used >= CUSTOM_EVENT_TYPES
    assert used >= {"create-group", "update-group", "create-individual", "add-member", "remove-member", "create-record"}
