"""The recorded traffic of a running v1 is sent again, in its order, to a hub that has seen nothing else."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient, Response

from datacollect.app import create_app
from datacollect.features.duplicates.service import sweep
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.conformance.differences import DELIBERATE, EARLY, NOT_YET, TWELVE, TWINS, events, refusal
from tests.conformance.exchanges import (
    INSTANT,
    JWT,
    PNG,
    UUID,
    Exchange,
    Names,
    Pattern,
    differences,
    faults,
    read_recording,
)
from tests.conftest import ENGINES, asgi_client, database_url, make_settings

pytestmark = pytest.mark.anyio

RECORDING = read_recording()
ADMIN, ADMIN_PASSWORD = "admin@example.org", "Correct-Horse-7"
USER, USER_PASSWORD = "u1@example.org", "Correct-Horse-8"
BASE_URL = "http://127.0.0.1:3900"
"""Where the recorded server ran: its artifact says so."""
_PASSWORD_CHANGE = 13
_DUPLICATES = 52
ORIGIN = "http://localhost:9000"

SAMPLE_CONFIG: Mapping[str, Any] = {
    # The public sample is 249 kB of forms; this has its shape: forms without ids, an unknown section, seeds below
    # seeds in v1's spelling, and an external system that is not configured.
    "id": "sample",
    "name": "Sample",
    "description": "A household and its people",
    "version": "1.0.0",
    "roles": [{"name": "agent"}],
    "entityForms": [
        {"name": "household", "title": "Household", "formio": {"display": "form", "components": []}},
        {"name": "individual", "title": "Person", "dependsOn": "household", "formio": {"components": []}},
    ],
    "entityData": [
        {"name": "household", "data": [{"ID": "hh-1", "Name": "Household 1"}]},
        {"name": "individual", "parentId": "hh-1", "data": [{"id": "p-1", "name": "Ana"}]},
    ],
    "externalSync": {"type": "", "url": ""},
}


@pytest.fixture(params=ENGINES)
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """A client of a fresh hub that is set up as the recorded server was."""
    async with database_url(request.param, request) as url:
        settings = make_settings(
            tmp_path,
            url,
            ADMIN_EMAIL=ADMIN,
            ADMIN_PASSWORD=ADMIN_PASSWORD,
            PUBLIC_BASE_URL=BASE_URL,
            CORS_ORIGINS="*",
        )
        app = create_app(settings)
        async with app.router.lifespan_context(app), asgi_client(app) as client:
            yield client


async def looked_for_duplicates(client: AsyncClient) -> None:
    """What v1 did in the push, and the hub does behind it."""
    hub: Hub = client._transport.app.state.hub  # type: ignore[attr-defined]
    scope = system_scope(TenantId("mini"))
    async with hub.db.transaction(scope) as tx:
        await sweep(tx, hub.log, scope, now=hub.clock.now())
    await hub.jobs.drain()


async def test_every_recorded_exchange_gets_its_answer(hub: AsyncClient) -> None:
    replay = _Replay(hub)
    for exchange in RECORDING:
        if exchange.n == _DUPLICATES:
            await looked_for_duplicates(hub)
        await replay.run(exchange)
    assert not replay.problems, "\n" + "\n".join(replay.problems)
    await replay.assert_the_deleted_program_is_only_archived()


def test_the_tables_name_only_recorded_exchanges_and_each_once() -> None:
    numbers = [exchange.n for exchange in RECORDING]
    assert numbers == sorted(set(numbers))
    assert DELIBERATE.keys() | NOT_YET.keys() <= set(numbers)
    assert not DELIBERATE.keys() & NOT_YET.keys()
    assert all(difference.reason for difference in DELIBERATE.values())
    assert len(NOT_YET) <= 5


def test_the_comparison_finds_a_missing_a_changed_and_a_wrongly_bound_value() -> None:
    recorded = {"data": [{"id": 4, "name": "Ana"}], "artifactId": "0" * 32}
    names = Names()
    assert faults(recorded, {"data": [{"id": 9, "name": "Ana", "more": 1}], "artifactId": "a" * 32}, names) == []
    assert faults(recorded, {"data": [{"id": 8, "name": "Ana"}], "artifactId": "a" * 32}, names)
    assert faults(recorded, {"data": [{"id": 9, "name": "Eva"}], "artifactId": "a" * 32}, names)
    assert faults(recorded, {"data": [{"id": 9}], "artifactId": "a" * 32}, names)
    assert faults(recorded, {"data": [], "artifactId": "a" * 32}, names)
    assert differences({"a": UUID}, {"a": "x"})
    assert differences({"a": 1}, {"a": 1, "b": 2})


@dataclass(slots=True)
class _Replay:
    """Sends one exchange after the other and keeps what earlier answers named."""

    client: AsyncClient
    names: Names = field(default_factory=Names)
    tokens: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    async def run(self, exchange: Exchange) -> None:
        answer = await self._send(exchange)
        if exchange.n in NOT_YET:
            found = _not_there(answer, exchange)
        elif exchange.n in DELIBERATE:
            found = await self._held_against_the_contract(exchange, answer)
        else:
            found = self._held_against_the_recording(exchange, answer)
        if exchange.n == _PASSWORD_CHANGE:
            # It ends the account's sessions; its owner signs in again.
            self.tokens.pop(USER, None)
        self.problems += [f"{exchange.n} ({exchange.note}): {problem}" for problem in found]

    async def assert_the_deleted_program_is_only_archived(self) -> None:
        """The last exchange is answered as recorded, but v1 lost the program's data with it."""
        headers = {"Authorization": f"Bearer {await self._token(ADMIN, ADMIN_PASSWORD)}"}
        program = (await self.client.get("/api/apps/mini", headers=headers)).json()
        assert INSTANT.fits(program["archivedAt"])
        stopped = await self.client.get("/api/sync/pull?since=&configId=mini", headers=headers)
        assert (stopped.status_code, stopped.json()["error"]) == (400, "App instance not found")
        await self.client.post("/api/apps/mini/restore", headers=headers)
        page = (await self.client.get("/api/sync/pull?since=&configId=mini&limit=1000", headers=headers)).json()
        # And what was decided about the duplicates.
        assert len(page["events"]) == 1 + len(EARLY) + len(TWELVE) + 1 + len(TWINS) + 1

    def _held_against_the_recording(self, exchange: Exchange, answer: Response) -> list[str]:
        found = [] if answer.status_code == exchange.status else [f"status {answer.status_code}: {answer.text[:300]}"]
        if _media_type(answer) != exchange.media_type:
            found.append(f"content type {answer.headers.get('content-type')}")
        if answer.headers.get("access-control-allow-origin") != ORIGIN:
            found.append("a page of another origin may not read the answer")
        if "content-disposition" in exchange.headers and not answer.headers.get("content-disposition", "").startswith(
            exchange.headers["content-disposition"]
        ):
            found.append("is not an attachment")
        return found + self._body_faults(exchange, answer)

    def _body_faults(self, exchange: Exchange, answer: Response) -> list[str]:
        if exchange.media_type == "image/png":
            return [] if PNG.fits(answer.content.decode("latin-1")) else ["is not a PNG"]
        if exchange.media_type is None:
            return [] if not answer.content else ["has a body"]
        return faults(exchange.body, answer.json(), self.names, "body")

    async def _held_against_the_contract(self, exchange: Exchange, answer: Response) -> list[str]:
        difference = DELIBERATE[exchange.n]
        found = [] if answer.status_code == difference.status else [f"status {answer.status_code}"]
        found += differences(self._here(difference.body), answer.json(), "body")
        if not self._held_against_the_recording(exchange, answer):
            found.append("is listed as a difference, but is answered as recorded")
        if difference.rest is not None and answer.status_code == 200:
            following = await self._follow(exchange, answer.json())
            found += differences(events(*difference.rest), following, "what follows")
        return found

    def _here(self, expected: Any) -> Any:
        """An expected body with the names that this run gives to recorded things."""
        if isinstance(expected, dict):
            return {key: self._here(value) for key, value in expected.items()}
        if isinstance(expected, list):
            return [self._here(value) for value in expected]
        return self.names.translate(expected) if isinstance(expected, str) else expected

    async def _follow(self, exchange: Exchange, page: Any) -> list[Any]:
        following: list[Any] = []
        headers = {"Authorization": await self._authorization(exchange) or ""}
        while page["nextCursor"] is not None:
            parameters = {"since": page["nextCursor"], "configId": "mini"}
            page = (await self.client.get("/api/sync/pull", params=parameters, headers=headers)).json()
            following += page["events"]
        return following

    async def _send(self, exchange: Exchange) -> Response:
        headers = {"Origin": ORIGIN}
        authorization = await self._authorization(exchange)
        if authorization:
            headers["Authorization"] = authorization
        if exchange.method == "OPTIONS":
            headers |= {
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type",
            }
        body = _body(exchange)
        if exchange.content_type == "multipart/form-data":
            parts = {"config": ("config.json", body, "application/json")}
            return await self.client.request(exchange.method, self._path(exchange), headers=headers, files=parts)
        # A GET has this header as well, though nothing follows: real clients send it.
        headers["Content-Type"] = "application/json"
        return await self.client.request(exchange.method, self._path(exchange), headers=headers, content=body)

    def _path(self, exchange: Exchange) -> str:
        if exchange.path == "/api/users/4":
            return f"/api/users/{self.names.user_id(4)}"
        return self.names.translate(exchange.path)

    async def _authorization(self, exchange: Exchange) -> str | None:
        match exchange.auth:
            case "Bearer <jwt of admin>":
                return f"Bearer {await self._token(ADMIN, ADMIN_PASSWORD)}"
            case "Bearer <jwt of user>":
                return f"Bearer {await self._token(USER, USER_PASSWORD)}"
        return exchange.auth

    async def _token(self, email: str, password: str) -> str:
        if email not in self.tokens:
            answer = await self.client.post("/api/users/login", json={"email": email, "password": password})
            self.tokens[email] = answer.json().get("token", "nobody")
        return self.tokens[email]


def _not_there(answer: Response, exchange: Exchange) -> list[str]:
    expected = refusal("NOT_FOUND", f"Not Found - {exchange.path}", success=False)
    found = [] if answer.status_code == 404 else [f"is answered {answer.status_code} now: take it off NOT_YET"]
    return found + differences(expected, answer.json())


def _media_type(answer: Response) -> str | None:
    return answer.headers["content-type"].partition(";")[0] if "content-type" in answer.headers else None


def _body(exchange: Exchange) -> bytes:
    """What was sent, where the recording tells it, and what it stands for where it only describes."""
    sent = exchange.sent
    if exchange.n == 15:
        return json.dumps(SAMPLE_CONFIG).encode()
    if exchange.n == 18:
        return json.dumps({"id": "bad id", "name": "Bad"}).encode()
    if exchange.n == 32:
        return _sixty_large_events()
    if exchange.content_type == "multipart/form-data":
        return json.dumps(sent["part config"]).encode()
    if sent is None:
        return b""
    return (sent if isinstance(sent, str) else json.dumps(_with_passwords(sent, exchange))).encode()


def _with_passwords(sent: dict[str, Any], exchange: Exchange) -> dict[str, Any]:
    if sent.get("password") != "<password>":
        return sent
    if exchange.n == 2:
        return {**sent, "password": "Another-Password-1"}
    return {**sent, "password": ADMIN_PASSWORD if sent["email"] == ADMIN else USER_PASSWORD}


def _sixty_large_events() -> bytes:
    """Echoes of one known event with a member nobody knows: large as the recorded push, and without any effect on
    the exchanges that follow."""
    known = {**events("0001")[0], "padding": "x" * 2000}
    return json.dumps({"events": [known] * 60, "configId": "mini"}).encode()


async def test_our_token_carries_the_claims_of_the_recorded_one(hub: AsyncClient) -> None:
    answer = await hub.post("/api/users/login", json={"email": ADMIN, "password": ADMIN_PASSWORD})
    token = answer.json()["token"]
    assert JWT.fits(token)
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    assert (header["alg"], header["typ"]) == ("HS256", "JWT")
    assert (type(claims["id"]), type(claims["email"]), type(claims["iat"])) == (int, str, int)
    assert Pattern(r"\d{10}").fits(claims["iat"])
