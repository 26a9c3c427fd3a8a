"""The whole story of a correction, from the code to another device, with a hub that is killed between every two steps."""

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.accounts import PASSWORD, bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.e2e.conftest import Serve
from tests.factories import make_config, make_event

pytestmark = pytest.mark.anyio

PHONE = "+15550100"
FORM = {
    "id": "f1",
    "name": "individual",
    "title": "Person",
    "entityType": "individual",
    "formio": {
        "components": [
            {"type": "textfield", "key": "name", "label": "Name"},
            {"type": "textfield", "key": "village", "label": "Village"},
            {"type": "phoneNumber", "key": "phone", "label": "Phone"},
        ]
    },
}


class Hubs:
    """A hub for each step: the one before it has been killed."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve

    @contextlib.contextmanager
    def client(self, token: str | None = None) -> Iterator[httpx2.Client]:
        with (
            self._serve(OTP_EXPOSE_DEV_CODE="true", NODE_ENV="development") as hub,
            httpx2.Client(base_url=hub.url, headers=bearer(token) if token else {}) as client,
        ):
            yield client

    def call(self, method: str, path: str, *, token: str | None = None, **more: Any) -> Any:
        with self.client(token) as client:
            return answered(client.request(method, path, **more))


def answered(answer: httpx2.Response) -> Any:
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def sign_in(client: httpx2.Client, email: str, password: str) -> str:
    return str(answered(client.post("/api/users/login", json={"email": email, "password": password}))["token"])


@pytest.mark.usefixtures("migrated")
async def test_a_correction_outlives_a_hub_that_is_killed_between_every_two_steps(serve: Serve) -> None:
    hubs = Hubs(serve)
    section = {
        "enabled": True,
        "authMethods": ["otp"],
        "allowedForms": ["individual"],
        "languages": ["en"],
        "requireReview": True,
    }
    config = make_config(selfService=section, entityForms=[FORM])
    program, supervisor = config["id"], {"email": "supervisor@hub.test", "password": PASSWORD, "role": "USER"}
    created = make_event(data={"name": "Ana", "village": "Hue", "phone": PHONE, "entityName": "individual"})
    guid = created["entityGuid"]
    with hubs.client() as client:
        client.headers.update(bearer(sign_in(client, ADMIN_EMAIL, ADMIN_PASSWORD)))
        answered(client.post("/api/apps", json=config))
        role = {"tenantId": program, "role": "supervisor"}
        answered(client.post("/api/users", json=supervisor | {"tenantIds": [program], "roleAssignments": [role]}))
        answered(client.post("/api/sync/push", json={"configId": program, "events": [created]}))
        staff = sign_in(client, supervisor["email"], PASSWORD)
        pulled = answered(client.get("/api/sync/pull", params={"configId": program, "since": ""}))
        seen = f"{pulled['events'][-1]['timestamp']}|{pulled['events'][-1]['guid']}"

    identifier = {"identifier": PHONE, "tenantId": program}
    code = hubs.call("POST", "/api/auth/otp/request", json=identifier)["devCode"]
    citizen = hubs.call("POST", "/api/auth/otp/verify", json=identifier | {"otp": code})["token"]
    own = hubs.call("GET", "/api/auth/self-service/entity", token=citizen)
    assert own["entity"]["data"] == {"name": "Ana", "village": "Hue", "phone": PHONE}
    filled = {"formType": "individual", "formData": own["entity"]["data"] | {"village": "Da Lat"}}
    retried = filled | {"submissionGuid": "7d6f2a34-5a0e-4b0c-9a63-1f5f9f0e7b11"}
    sent = hubs.call("POST", "/api/auth/self-service/submit", token=citizen, json=retried)
    assert sent["status"] == "pending_review"
    assert hubs.call("POST", "/api/auth/self-service/submit", token=citizen, json=retried) == sent
    [pending] = hubs.call("GET", "/api/auth/self-service/submissions", token=citizen)["submissions"]
    assert (pending["id"], pending["status"]) == (sent["reviewId"], "pending")
    [listed] = hubs.call("GET", "/api/reviews", token=staff, params={"tenantId": program, "status": "pending"})[
        "reviews"
    ]
    assert (listed["id"], listed["formData"]["data"]) == (sent["reviewId"], {"village": "Da Lat"})
    path = f"/api/reviews/{sent['reviewId']}/approve"
    approved = hubs.call("POST", path, token=staff, json={"tenantId": program})["review"]
    assert (approved["status"], approved["reviewedBy"]) == ("approved", supervisor["email"])
    [known] = hubs.call("GET", "/api/auth/self-service/submissions", token=citizen)["submissions"]
    assert (known["status"], known["reviewedBy"]) == ("approved", "staff")
    page = hubs.call("GET", "/api/sync/pull", token=staff, params={"configId": program, "since": seen})
    [event] = page["events"]
    assert (event["entityGuid"], event["type"], event["data"]) == (guid, "update-individual", {"village": "Da Lat"})
    assert event["guid"] == sent["submissionGuid"]
    corrected = hubs.call("GET", "/api/auth/self-service/entity", token=citizen)["entity"]["data"]
    assert corrected == {"name": "Ana", "village": "Da Lat", "phone": PHONE}
