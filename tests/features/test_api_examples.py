"""The examples of the API description work: each request that it shows is sent and taken, and answered as described.

What cannot be known beforehand is put in: tokens, ids that the hub gives, addresses of other systems. The rest is sent
as it is shown, to one hub, whose program is the one that the description shows.
"""

import base64
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from joserfc.jwk import RSAKey

from datacollect.http.hub import Hub
from datacollect.http.pages import ApiDescription
from datacollect.kernel.tenancy import SignIn
from datacollect.testing.clock import TurnableClock
from datacollect.testing.odoo import FakeOdoo
from datacollect.testing.oidc import OidcProvider
from datacollect.testing.remote import Answer, RemoteSystem, Request
from tests.accounts import bearer, find_account
from tests.citizens import token_of
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Migrated, asgi_client
from tests.description import Document, json_schema_of
from tests.factories import make_event, push
from tests.features.conftest import Installation

pytestmark = pytest.mark.anyio

PROGRAM = "household-registry"
CITIZEN = "p-001"
AGENT = {"email": "agent@example.org", "password": "Sunny-Kettle-31"}
SUPERVISOR = {"email": "supervisor@example.org", "password": "Sunny-Kettle-31"}
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"


@pytest.fixture
async def installation(migrated_once: Migrated, tmp_path: Any, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """On one engine: what is shown and taken is the same on both."""
    async with migrated_once.database("sqlite", request, tmp_path) as url:
        yield Installation(tmp_path, url, TurnableClock())


# -- the hub that everything is sent to, and the systems that it calls


def answer_as_openspp(request: Request) -> Answer:
    match request.path.removeprefix("/api/v2/spp"):
        case "/oauth/token":
            return Answer(200, {"access_token": "t", "expires_in": 3600, "scope": "individual:read group:read"})
        case "/Studio/fields":
            return Answer(200, {"total": 0, "items": []})
        case "/Program":
            return Answer(200, {"data": [], "links": {"next": None}})
    return Answer(503)  # what it is told waits for another try, and may be taken back until then


@dataclass
class Call:
    """What is sent besides the example, or in its place."""

    path: dict[str, Any] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=lambda: {"configId": PROGRAM})
    body: dict[str, Any] = field(default_factory=dict)
    """Members in the place of those that are shown."""
    token: str | None = None
    """Somebody else's than the administrator's."""


@dataclass
class World:
    app: FastAPI
    admin: AsyncClient
    clock: TurnableClock
    idp: OidcProvider
    odoo: FakeOdoo
    spp: RemoteSystem
    document: Document

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.hub
        return hub

    async def done(self, method: str, path: str, **more: Any) -> Any:
        answer = await self.admin.request(method, path, **more)
        assert answer.status_code < 300, f"{path}: {answer.text}"
        return answer.json()

    async def send(self, method: str, path: str, call: Call, body: Any) -> Response:
        if isinstance(body, dict):
            body |= call.body
        client = self.admin if call.token is None else asgi_client(self.app, call.token)
        async with contextlib.AsyncExitStack() as closing:
            if client is not self.admin:
                await closing.enter_async_context(client)
            return await client.request(method, path.format_map(call.path), params=call.query, json=body)

    # What the calls need.

    async def program(self) -> None:
        """As it is shown, with nothing limited."""
        [example] = self.document.examples_of({"$ref": "#/components/schemas/ProgramConfig"})
        await self.done("POST", "/api/apps", json=example)

    async def fresh_account(self, account: dict[str, str] = AGENT, *roles: str) -> str:
        """The account as it is shown; its refresh token."""
        await self.without_account(account)
        assigned = [{"tenantId": PROGRAM, "role": role} for role in roles]
        await self.done("POST", "/api/users", json={**account, "role": "USER", "roleAssignments": assigned})
        return str((await self.done("POST", "/api/users/login", json=account))["refreshToken"])

    async def without_account(self, account: dict[str, str] = AGENT) -> None:
        listed = await self.done("GET", "/api/users", params={"search": account["email"]})
        if any(one["email"] == account["email"] for one in listed):
            stored = await find_account(self.admin, account["email"])
            await self.done("DELETE", f"/api/users/{stored['id']}")

    async def token(self, account: dict[str, str] = AGENT) -> str:
        return str((await self.done("POST", "/api/users/login", json=account))["token"])

    async def conflict(self) -> str:
        made = make_event(data={"name": "Lan Tran", "village": "An", "entityName": "individual"})
        early, late = (
            make_event("update-individual", entity=made["entityGuid"], data={"village": village})
            for village in ("Hoa Binh", "Ben Tre")
        )
        for event in (made, late, early):
            assert (await push(self.admin, PROGRAM, event)).status_code == 200
        open_ones = (await self.done("GET", "/api/conflicts", params={"configId": PROGRAM}))["conflicts"]
        return next(str(one["guid"]) for one in open_ones if one["entityGuid"] == made["entityGuid"])

    async def pair(self, tried: int) -> tuple[str, str]:
        data = {"entityName": "individual", "name": f"Rudo Moyo {tried}", "phone": f"+2637700011{tried}"}
        older, newer = make_event(data=data), make_event(data=data)
        await push(self.admin, PROGRAM, older, newer)
        await self.done("POST", "/api/potential-duplicates/sweep", params={"configId": PROGRAM})
        await self.hub.jobs.drain()
        return newer["entityGuid"], older["entityGuid"]

    async def quarantined(self) -> tuple[str, dict[str, Any]]:
        """An event that could not be applied, and could be now; its id, and itself."""
        group = make_event("create-group", data={"entityName": "household", "name": "Tran"})
        members = [{"guid": make_event()["entityGuid"], "name": "Lan Tran"}]
        event = make_event("add-member", entity=group["entityGuid"], data={"members": members})
        assert (await push(self.admin, PROGRAM, event, atomic=False)).status_code == 207
        assert (await push(self.admin, PROGRAM, group)).status_code == 200
        listed = (await self.done("GET", "/api/sync/quarantine", params={"configId": PROGRAM}))["quarantined"]
        return next(one["id"] for one in listed if one["eventGuid"] == event["guid"]), event

    async def review(self, policy: str = "internal-review", **settings: str) -> str:
        told = {"policy": policy, "requiredRole": "supervisor", **settings}
        await self.done("PUT", f"/api/reviews/config/{PROGRAM}/update-individual", json=told)
        event = make_event("update-individual", entity=CITIZEN, data={"phone": "+26377000111"})
        await self.fresh_account(AGENT, "enumerator")
        agent = bearer(await self.token())
        await self.done("POST", "/api/reviews/submit", json={"tenantId": PROGRAM, "formData": event}, headers=agent)
        waiting = await self.done("GET", "/api/reviews", params={"tenantId": PROGRAM, "status": "pending"})
        return next(str(one["id"]) for one in waiting["reviews"] if one["submissionGuid"] == event["guid"])

    async def attachment(self) -> str:
        stored = await self.done(
            "POST",
            "/api/attachments/upload",
            data={"configId": PROGRAM, "entityGuid": CITIZEN},
            files={"file": ("note.txt", b"hello", "text/plain")},
        )
        return str(stored["attachment"]["guid"])

    async def citizen(self) -> str:
        return await token_of(self.hub, PROGRAM, CITIZEN, method=SignIn.ID, nationalId="N-1990-0042")

    async def portal(self) -> str:
        """A program whose citizens sign in at a provider."""
        key = RSAKey.generate_key(2048)
        self.idp.clients["portal"] = RSAKey.import_key(key.as_pem(private=False))
        [example] = self.document.examples_of({"$ref": "#/components/schemas/ProgramConfig"})
        way = {
            "authority": self.idp.authority,
            "redirectUri": "https://portal.example.org/callback",
            "clientId": "portal",
            "scope": "openid",
            "privateKey": key.as_pem(private=True).decode(),
            "entityMapping": {"primaryClaim": "sub", "entityField": "nationalId"},
        }
        self_service = example["selfService"] | {"authMethods": ["oidc"], "oidcConfig": way}
        await self.done("POST", "/api/apps", json=example | {"id": "portal", "selfService": self_service})
        return "portal"


# -- what each operation needs before an example of it can be sent; the number counts its examples


Prepare = Callable[[World, int], Awaitable[Call]]
NEEDS: dict[str, Prepare] = {}


def needs(*operations: str) -> Callable[[Prepare], Prepare]:
    def noted(prepare: Prepare) -> Prepare:
        NEEDS.update(dict.fromkeys(operations, prepare))
        return prepare

    return noted


@needs("createApp")
async def _(world: World, tried: int) -> Call:
    return Call()


@needs("replaceApp", "patchSyncScope", "patchPrograms", "patchClaim169", "patchInji")
async def _(world: World, tried: int) -> Call:
    return Call(path={"id": PROGRAM})


@needs("createUser")
async def _(world: World, tried: int) -> Call:
    await world.without_account()
    return Call()


@needs("admitUser", "updateUser", "login")
async def _(world: World, tried: int) -> Call:
    await world.fresh_account()
    return Call(path={"idOrEmail": AGENT["email"]})


@needs("refreshTokens", "logout")
async def _(world: World, tried: int) -> Call:
    refresh_token = await world.fresh_account()
    return Call(body={"refreshToken": refresh_token}) if tried == 0 else Call(token=await world.token())


@needs("changePassword")
async def _(world: World, tried: int) -> Call:
    await world.fresh_account()
    return Call(token=await world.token())


@needs("loginByProvider")
async def _(world: World, tried: int) -> Call:
    await world.fresh_account()
    return Call(body={"token": world.idp.id_token(aud="hub", email=AGENT["email"], email_verified=True)})


@needs("requestOtp", "verifyNationalId", "parseSample", "parseSampleFile")
async def _(world: World, tried: int) -> Call:
    return Call(query={})


@needs("verifyOtp")
async def _(world: World, tried: int) -> Call:
    world.clock.turn(seconds=61)  # or it would be told to wait for another code
    wanted = {"identifier": "+49151123456", "tenantId": PROGRAM}
    return Call(body={"otp": (await world.done("POST", "/api/auth/otp/request", json=wanted))["devCode"]})


@needs("makeOidcNonce")
async def _(world: World, tried: int) -> Call:
    return Call(query={}, body={"tenantId": await world.portal()})


@needs("exchangeIdToken")
async def _(world: World, tried: int) -> Call:
    told: dict[str, Any] = {"tenantId": await world.portal()}
    told["nonce"] = (await world.done("POST", "/api/auth/oidc/nonce", json=told))["nonce"]
    id_token = world.idp.id_token("N-1990-0042", aud="portal", nonce=told["nonce"])
    if tried == 0:
        return Call(query={}, body=told | {"idToken": id_token})
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    tokens = {"id_token": id_token, "access_token": "opaque"}
    code = world.idp.grant("portal", "https://portal.example.org/callback", tokens, challenge=challenge)
    return Call(query={}, body=told | {"code": code})


@needs("pushEvents", "pushAuditLogs", "searchEntities", "checkForDuplicates", "startExternalSync")
async def _(world: World, tried: int) -> Call:
    return Call()


@needs("resolveConflict")
async def _(world: World, tried: int) -> Call:
    return Call(path={"guid": await world.conflict()})


@needs("makeAttachmentLink", "deleteAttachment")
async def _(world: World, tried: int) -> Call:
    return Call(path={"guid": await world.attachment()})


@needs("resolvePotentialDuplicate")
async def _(world: World, tried: int) -> Call:
    newer, older = await world.pair(tried)
    return Call(body={"newItem": newer, "existingItem": older})


@needs("replayQuarantined", "discardQuarantined")
async def _(world: World, tried: int) -> Call:
    key, event = await world.quarantined()
    return Call(path={"id": key}, body={} if tried == 0 else {"event": event})


@needs("replaySeveralQuarantined", "discardSeveralQuarantined")
async def _(world: World, tried: int) -> Call:
    key, _ = await world.quarantined()
    return Call(body={"ids": [key]})


@needs("setReviewPolicy")
async def _(world: World, tried: int) -> Call:
    return Call(path={"id": PROGRAM, "eventType": "update-individual"}, query={})


@needs("submitForm")
async def _(world: World, tried: int) -> Call:
    # It changes the record that others of these sign in for: they come before it.
    return Call(query={})


@needs("approveReview", "rejectReview", "requestReviewChanges", "commentOnReview")
async def _(world: World, tried: int) -> Call:
    return Call(path={"id": await world.review()}, query={})


@needs("withdrawReview")
async def _(world: World, tried: int) -> Call:
    return Call(path={"id": await world.review()}, query={}, token=await world.token())


@needs("assignReview")
async def _(world: World, tried: int) -> Call:
    await world.fresh_account(SUPERVISOR, "supervisor")
    return Call(path={"id": await world.review()}, query={})


@needs("approveSeveralReviews")
async def _(world: World, tried: int) -> Call:
    return Call(body={"reviewIds": [await world.review()]}, query={})


@needs("takeReviewBack")
async def _(world: World, tried: int) -> Call:
    way = {"clientId": "dc", "clientSecret": "s3cret", "submitVia": "change-request"}
    section = {"type": "openspp-v2-adapter", "url": world.spp.url, "adapterConfig": way}
    [example] = world.document.examples_of({"$ref": "#/components/schemas/ProgramConfig"})
    await world.done("PUT", f"/api/apps/{PROGRAM}", json=example | {"externalSync": section})
    review = await world.review("external-delegate", externalAdapterType="openspp-v2")
    await world.hub.jobs.drain()  # nobody takes back what is just being handed over
    return Call(path={"id": review}, query={})


@needs("fetchModelFields")
async def _(world: World, tried: int) -> Call:
    return Call(query={}, body={"url": world.odoo.url, "database": world.odoo.database})


@needs("tryRegistryConnection", "listStudioFields")
async def _(world: World, tried: int) -> Call:
    return Call(query={}, body={"baseUrl": world.spp.url})


@needs("discoverPrograms")
async def _(world: World, tried: int) -> Call:
    return Call(query={}, body={"url": world.spp.url})


@needs("submitOwnChange")
async def _(world: World, tried: int) -> Call:
    return Call(query={}, token=await world.citizen())


# -- the tests


@contextlib.asynccontextmanager
async def world_of(installation: Installation) -> AsyncIterator[World]:
    async with OidcProvider.running(now=lambda: installation.clock.now() / 1000) as idp:
        named = {"name": "keycloak", "type": "keycloak", "authority": idp.authority, "client_id": "hub"}
        with FakeOdoo() as odoo, RemoteSystem(answer_as_openspp) as spp:
            odoo.add_user("datacollect", "<password>")
            async with installation.running(
                STAFF_PROVIDERS=json.dumps([named]), ALLOW_PRIVATE_ADAPTER_HOSTS=True, OTP_EXPOSE_DEV_CODE=True
            ) as (app, client):
                description: ApiDescription = app.state.description
                document = Document(msgspec.json.decode(description.as_json))
                world = World(app, client, installation.clock, idp, odoo, spp, document)
                account = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
                client.headers.update(bearer((await world.done("POST", "/api/users/login", json=account))["token"]))
                yield world


async def test_every_request_that_is_shown_is_taken(installation: Installation) -> None:
    async with world_of(installation) as world:
        document = world.document
        shown = {
            operation["operationId"]: (method, path, operation)
            for method, path, operation in document.operations()
            if "application/json" in operation.get("requestBody", {}).get("content", ())
        }
        assert shown.keys() == NEEDS.keys()
        for name, prepare in NEEDS.items():
            method, path, operation = shown[name]
            examples = document.examples_of(json_schema_of(operation["requestBody"]["content"]))
            assert examples, f"{name} shows no request"
            for tried, example in enumerate(examples):
                await world.program()
                call = await prepare(world, tried)
                answer = await world.send(method, path, call, example)
                assert answer.status_code < 300, f"{name} {tried}: {answer.text}"
                told = operation["responses"][str(answer.status_code)]
                assert document.problems(json_schema_of(told["content"]), answer.json()) == [], name
