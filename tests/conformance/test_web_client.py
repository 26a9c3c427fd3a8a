"""The calls of the web client, as it makes them, and what it reads of the answers. Source: the contract's clients, 2 and 3."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response

from datacollect.http.hub import Hub
from tests.accounts import login, make_person
from tests.citizens import make_citizen, token_of
from tests.conftest import asgi_client
from tests.factories import make_program, pull_all

pytestmark = pytest.mark.anyio

SECTION = {
    "enabled": True,
    "authMethods": ["otp", "id"],
    "allowedForms": ["individual"],
    "languages": ["en", "fr", "km"],
    "requireReview": True,
}
FORMS = [
    {"id": "f0", "name": "household", "title": "Household", "formio": {"components": []}},
    {
        "id": "f1",
        "name": "individual",
        "title": "Person",
        "dependsOn": "household",
        "formio": {
            "components": [
                {"type": "textfield", "key": "name", "input": True, "label": "Name"},
                {"type": "textfield", "key": "village", "input": True, "label": "Village"},
                {"type": "phoneNumber", "key": "phone", "input": True, "label": "Phone"},
                {"type": "button", "key": "submit", "action": "submit", "label": "Submit", "input": True},
            ]
        },
    },
]
SUBMISSION = (
    "id",
    "submissionGuid",
    "tenantId",
    "status",
    "submittedBy",
    "reviewedBy",
    "reviewedAt",
    "rejectionReason",
    "eventType",
    "entityGuid",
    "createdAt",
)


def read(answer: Response, *members: str) -> Any:
    """What the client reads is there; more may be."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert_has(body, members)
    return body


def assert_has(value: Mapping[str, Any], members: Iterable[str]) -> None:
    assert [name for name in members if name not in value] == []


@pytest.fixture
async def program(admin: AsyncClient) -> str:
    return await make_program(admin, entityForms=FORMS, selfService=SECTION)


async def agent_of(app: FastAPI, admin: AsyncClient, program: str, role: str) -> AsyncClient:
    assignment = {"tenantId": program, "role": role}
    person = await make_person(admin, tenantIds=[program], roleAssignments=[assignment])
    async with asgi_client(app) as client:
        return asgi_client(app, (await login(client, person))["token"])


def event_of(type: str, guid: str, user: str, **data: Any) -> dict[str, Any]:
    """As the agent's client builds it."""
    return {
        "guid": str(uuid.uuid4()),
        "entityGuid": guid,
        "type": type,
        "data": data,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "userId": user,
        "syncLevel": 1,
    }


# -- the agent's part


async def test_an_agent_works_without_push(app: FastAPI, admin: AsyncClient, program: str) -> None:
    """Each form goes to the reviews, by `tenantId` alone; without a policy it is applied at once."""
    async with await agent_of(app, admin, program, "enumerator") as agent:
        config = read(await agent.get(f"/api/apps/{program}"), "entityForms")
        for form in config["entityForms"]:
            assert_has(form, ("id", "name", "title", "formio"))
        household, person = str(uuid.uuid4()), str(uuid.uuid4())
        made = event_of("create-group", household, "agent@hub.test", name="Rivera", entityName="household")
        child = event_of(
            "create-individual", person, "agent@hub.test", name="Ana", entityName="individual", parentId=household
        )
        for event in (made, child):
            read(await agent.post("/api/reviews/submit", json={"tenantId": program, "formData": event}))
        about = {"configId": program}
        assert len(read(await agent.get("/api/entities", params=about | {"limit": "100"}))) == 2
        read(await agent.get(f"/api/entities/{person}", params=about), "guid", "data", "type")
        [event] = read(await agent.get(f"/api/entities/{person}/events", params=about))
        assert_has(event, ("guid", "entityGuid", "type", "data", "timestamp", "userId", "syncLevel"))
        read(await agent.get(f"/api/entities/{household}/members", params=about))
        found = await agent.post("/api/entities/search", json=about | {"criteria": [{"name": "Ana"}]})
        assert [one["guid"] for one in read(found)] == [person]
        assert read(await agent.get("/api/entities/count", params=about), "count")["count"] == 2
        read(await agent.get("/api/entities/count-by-form", params=about), "individual")


async def test_what_an_agent_submits_is_told_to_be_theirs(app: FastAPI, admin: AsyncClient, program: str) -> None:
    async with await agent_of(app, admin, program, "enumerator") as agent:
        me = (await agent.get("/api/users/me")).json()
        event = event_of("create-individual", str(uuid.uuid4()), "somebody@else.test", name="Bo")
        sent = await agent.post("/api/reviews/submit", json={"tenantId": program, "formData": event})
        assert read(sent, "review")["review"]["submittedBy"] == me["email"]


async def test_an_agents_form_waits_where_the_program_says_so(app: FastAPI, admin: AsyncClient, program: str) -> None:
    policy = {"policy": "internal-review", "requiredRole": "supervisor"}
    read(await admin.put(f"/api/reviews/config/{program}/create-individual", json=policy), "status", "config")
    async with (
        await agent_of(app, admin, program, "enumerator") as agent,
        await agent_of(app, admin, program, "supervisor") as boss,
    ):
        event = event_of("create-individual", str(uuid.uuid4()), "agent@hub.test", name="Bo", entityName="individual")
        read(await agent.post("/api/reviews/submit", json={"tenantId": program, "formData": event}))
        assert await pull_all(admin, program) == []
        listed = read(await boss.get("/api/reviews", params={"tenantId": program, "status": "pending"}), "reviews")
        [review] = listed["reviews"]
        assert_has(review, (*SUBMISSION, "formData"))
        assert_has(review["formData"], ("guid", "entityGuid", "type", "data", "timestamp", "userId", "syncLevel"))
        done = await boss.post(f"/api/reviews/{review['id']}/approve", json={"tenantId": program})
        assert read(done, "review")["review"]["status"] == "approved"
        assert [one["guid"] for one in await pull_all(admin, program)] == [event["guid"]]


async def test_an_agents_token_opens_nothing_of_a_citizens(app: FastAPI, admin: AsyncClient, program: str) -> None:
    async with await agent_of(app, admin, program, "supervisor") as agent:
        refused = await agent.get("/api/auth/self-service/entity")
        assert (refused.status_code, refused.json()["error"]) == (403, "Forbidden: self-service scope required")


# -- the citizen's part


async def test_the_public_part_of_a_program_is_read_without_a_token(client: AsyncClient, program: str) -> None:
    told = read(await client.get(f"/api/apps/{program}/public"), "name", "selfService")
    assert told["selfService"]["enabled"] is True
    assert told["selfService"]["languages"] == ["en", "fr", "km"]
    assert told["selfService"]["authMethods"] == ["otp", "id"]


async def test_a_citizens_dashboard_form_and_history(app: FastAPI, hub: Hub, admin: AsyncClient, program: str) -> None:
    guid = await make_citizen(admin, program, name="Ana", village="Hue", phone="+1555")
    async with asgi_client(app, await token_of(hub, program, guid, phone="+1555")) as citizen:
        own = read(await citizen.get("/api/auth/self-service/entity"), "entity", "availableForms")
        assert_has(own["entity"], ("guid", "data", "lastUpdated"))
        [form] = own["availableForms"]
        assert_has(form, ("type", "label", "formio"))
        # A form is sent as Form.io gives it: whole, with the button.
        data = own["entity"]["data"] | {"village": "Da Lat", "submit": True}
        sent = await citizen.post("/api/auth/self-service/submit", json={"formType": form["type"], "formData": data})
        assert read(sent, "status", "submissionGuid", "reviewId")["status"] == "pending_review"
        history = read(await citizen.get("/api/auth/self-service/submissions"), "submissions")
        [submission] = history["submissions"]
        assert_has(submission, SUBMISSION)
        assert submission["eventType"] == "update-individual"


async def test_a_citizens_token_opens_nothing_of_the_staffs(
    app: FastAPI, hub: Hub, admin: AsyncClient, program: str
) -> None:
    guid = await make_citizen(admin, program, phone="+1555")
    async with asgi_client(app, await token_of(hub, program, guid, phone="+1555")) as citizen:
        for path in ("/api/entities", "/api/reviews", f"/api/apps/{program}", "/api/users/me"):
            answer = await citizen.get(path, params={"configId": program, "tenantId": program})
            assert answer.status_code == 403, path
            assert answer.json()["error"] == "Forbidden: self-service tokens cannot access this endpoint"
        assert (await citizen.get("/api/sync/pull", params={"configId": program})).status_code == 401
