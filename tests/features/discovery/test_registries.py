"""The routes that ask registries: administrators only, no more than asked, nothing passed on that a registry said."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from fastapi import FastAPI
from httpx2 import AsyncClient, Response

from datacollect.features.discovery import service
from datacollect.features.discovery.caching import MOST_ANSWERS, Answers
from datacollect.testing.clock import TurnableClock
from datacollect.testing.odoo import FakeOdoo
from datacollect.testing.remote import Answer, DropBefore, Instead, Late, RemoteSystem, Request
from tests.accounts import assert_refused, login, make_person
from tests.conftest import asgi_client, make_settings
from tests.features.discovery.conftest import PASSWORD, REGISTRAR

pytestmark = pytest.mark.anyio

FETCH = "/api/openspp-fields/fetch"
TRY, FIELDS = "/api/openspp-fields/v2/test-connection", "/api/openspp-fields/v2/fields"
DISCOVER = "/api/openspp/programs/discover"
SECRET = "s3cret-of-spp"
HEARSAY = "db-7.internal said: relation partner of Somchai does not exist"


@pytest.fixture(autouse=True)
def _a_minute_later(discovery_clock: TurnableClock) -> None:
    """Nobody has asked for anything in the last minute."""
    discovery_clock.turn(seconds=61)


class FakeSpp(RemoteSystem):
    """As much of OpenSPP V2 as discovery asks for."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.fields: list[dict[str, Any]] = []
        self.programs: list[dict[str, Any]] = []
        self.most_at_once = 100

    def _answer(self, request: Request) -> Answer:
        match request.path.removeprefix("/api/v2/spp"):
            case "/oauth/token":
                asked = request.json()
                if (asked["client_id"], asked["client_secret"]) != ("dc", SECRET):
                    return Answer(401, {"detail": HEARSAY})
                return Answer(200, {"access_token": "t", "expires_in": 3600, "scope": "individual:read group:read"})
            case _ if request.headers.get("authorization") != "Bearer t":
                return Answer(401, {"detail": HEARSAY})
            case "/Studio/fields":
                return self._page(request)
            case "/Program":
                return Answer(200, {"data": self.programs, "links": {"next": None}})
        return Answer(404)

    def _page(self, request: Request) -> Answer:
        first, count = int(request.query.get("_lastId", "0")), min(self.most_at_once, int(request.query["_count"]))
        page = self.fields[first : first + count]
        following = {"nextPageId": first + count} if first + count < len(self.fields) else {}
        return Answer(200, {"total": len(self.fields), "items": page, **following})


@pytest.fixture
def spp() -> Iterator[FakeSpp]:
    with FakeSpp() as spp:
        yield spp


def odoo_account(odoo: FakeOdoo, **changes: Any) -> dict[str, Any]:
    account = {"url": odoo.url, "database": odoo.database, "username": REGISTRAR, "password": PASSWORD}
    return account | {"fields": ["name", "gender", "gender_id"]} | changes


def spp_client(spp: RemoteSystem, **changes: Any) -> dict[str, Any]:
    return {"baseUrl": spp.url, "clientId": "dc", "clientSecret": SECRET} | changes


def discovery(spp: RemoteSystem, **changes: Any) -> dict[str, Any]:
    return {"url": spp.url, "clientId": "dc", "clientSecret": SECRET} | changes


# -- OpenSPP V1


async def test_odoo_tells_its_fields_with_what_can_be_chosen(boss: AsyncClient, odoo: FakeOdoo) -> None:
    answer = await boss.post(FETCH, json=odoo_account(odoo))
    assert answer.status_code == 200, answer.text
    by_name = {field["name"]: field for field in answer.json()["fields"]}
    assert by_name["name"] == {
        "name": "name", "type": "text", "valueType": "text", "label": "Name", "required": True,
    }  # fmt: skip
    assert by_name["gender"]["options"] == [{"id": "male", "label": "Male"}, {"id": "female", "label": "Female"}]
    assert by_name["gender_id"]["type"] == "relation"
    assert [option["label"] for option in by_name["gender_id"]["options"]] == ["Male", "Female"]


async def test_relations_to_many_records_and_unreadable_ones_come_without_options(
    boss: AsyncClient, odoo: FakeOdoo
) -> None:
    for number in range(service.MOST_OPTIONS):
        odoo.registry.transaction().create("gender.type", {"name": f"G{number}"})
    answer = await boss.post(FETCH, json=odoo_account(odoo, fields=["gender_id"]))
    assert "options" not in answer.json()["fields"][0]
    odoo.registry.models["gender.type"].readers = odoo_secret_group(odoo)
    answer = await boss.post(FETCH, json=odoo_account(odoo, fields=["gender_id", "name"]))
    assert [field["name"] for field in answer.json()["fields"]] == ["gender_id", "name"]
    assert "options" not in answer.json()["fields"][0]
    before = odoo.calls["gender.type.search_read"]
    await boss.post(FETCH, json=odoo_account(odoo, relationOptions=False))
    assert odoo.calls["gender.type.search_read"] == before


async def test_fields_are_told_although_it_takes_long_to_say_what_can_be_chosen(
    boss: AsyncClient, odoo: FakeOdoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "OPTIONS_SECONDS", 0.1)
    odoo.faults.add(Late(30), matches=lambda request: b"gender.type" in request.body)
    answer = await boss.post(FETCH, json=odoo_account(odoo))
    assert answer.status_code == 200, answer.text
    by_name = {field["name"]: field for field in answer.json()["fields"]}
    assert (by_name["gender_id"]["type"], "options" in by_name["gender_id"]) == ("relation", False)
    assert len(by_name["gender"]["options"]) == 2


def odoo_secret_group(odoo: FakeOdoo) -> str:
    odoo.add_group("group_secret")
    return "group_secret"


@pytest.mark.parametrize("missing", ["url", "database", "username", "password"])
async def test_all_of_an_odoo_account_is_needed(boss: AsyncClient, odoo: FakeOdoo, missing: str) -> None:
    for changes in ({missing: ""}, {missing: None}):
        answer = await boss.post(FETCH, json=odoo_account(odoo, **changes))
        assert_refused(answer, 400, "URL, database, username, and password are required", "INVALID_ODOO_CONNECTION")
        assert answer.json()["success"] is False
        assert answer.json()["details"][0]["path"] == [missing]
    assert odoo.asked == 0


async def test_wrong_credentials_a_wrong_model_and_a_wrong_address_are_told_apart(
    boss: AsyncClient, odoo: FakeOdoo
) -> None:
    told = {}
    for changes in ({"password": "wrong"}, {"model": "res.nothing"}, {"url": f"{odoo.url}/elsewhere"}):
        answer = await boss.post(FETCH, json=odoo_account(odoo, **changes))
        body = answer.json()
        assert (answer.status_code, body["code"], body["success"]) == (502, "ODOO_FETCH_FAILED", False)
        assert body["error"].startswith("Failed to fetch fields from Odoo API: ")
        told[body["reason"]] = body["error"]
    assert set(told) == {"AUTH", "REJECTED", "NOT_FOUND"}
    assert len(set(told.values())) == 3


# -- OpenSPP V2


async def test_a_connection_is_tried_anew_each_time(boss: AsyncClient, spp: FakeSpp) -> None:
    for _ in range(2):
        answer = await boss.post(TRY, json=spp_client(spp))
        assert answer.json() == {"success": True, "scopes": ["individual:read", "group:read"]}
    assert spp.requests["POST /api/v2/spp/oauth/token"] == 2


async def test_all_studio_fields_are_read_page_by_page(boss: AsyncClient, spp: FakeSpp) -> None:
    spp.fields = [
        {"technicalName": f"x_{number}", "label": f"X {number}", "fieldType": "selection", "targetType": "group"}
        for number in range(205)
    ]
    spp.fields[0] |= {"isRequired": True, "selectionOptions": [{"value": "a", "label": "A"}]}
    answer = await boss.post(FIELDS, json=spp_client(spp))
    body = answer.json()
    assert (answer.status_code, len(body["fields"]), body["truncated"]) == (200, 205, False)
    assert body["fields"][0] == {
        "name": "x_0",
        "label": "X 0",
        "type": "selection",
        "targetType": "group",
        "required": True,
        "source": "studio",
        "selectionOptions": [{"value": "a", "label": "A"}],
    }


async def test_a_registry_that_gives_fewer_fields_at_a_time_is_asked_to_the_end(
    boss: AsyncClient, spp: FakeSpp
) -> None:
    spp.most_at_once = 2
    spp.fields = [{"technicalName": f"x_{number}", "label": "", "fieldType": "text"} for number in range(5)]
    body = (await boss.post(FIELDS, json=spp_client(spp))).json()
    assert [field["name"] for field in body["fields"]] == [f"x_{number}" for number in range(5)]
    assert body["truncated"] is False
    spp.most_at_once = 1
    spp.fields *= 5
    body = (await boss.post(FIELDS, json=spp_client(spp, baseUrl=f"{spp.url}/"))).json()
    assert (len(body["fields"]), body["truncated"]) == (20, True)


async def test_an_endless_list_of_fields_is_cut_off_and_said_to_be(boss: AsyncClient, spp: FakeSpp) -> None:
    spp.fields = [{"technicalName": f"x_{number}", "label": "", "fieldType": "text"} for number in range(2100)]
    body = (await boss.post(FIELDS, json=spp_client(spp))).json()
    assert (len(body["fields"]), body["truncated"]) == (2000, True)


async def test_programs_are_found_with_the_filter_and_the_default_status(boss: AsyncClient, spp: FakeSpp) -> None:
    identifier = {"system": "urn:example:program", "value": "widow-disability"}
    spp.programs = [{"identifier": [identifier], "name": "Widow Disability Support", "targetType": "individual"}]
    answer = await boss.post(DISCOVER, json=discovery(spp, filter={"targetType": "individual", "name": "Widow"}))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["total"], body["truncated"]) == (1, False)
    assert body["programs"][0]["identifier"] == "urn:example:program|widow-disability"
    asked = spp.log[-1].query
    assert asked == {"_count": "100", "status": "active", "targetType": "individual", "name": "Widow"}


async def test_programs_may_be_listed_as_studio_fields_are(boss: AsyncClient, spp: FakeSpp) -> None:
    listed = {"total": 1, "items": [{"id": 3, "name": "Widows", "state": "active", "targetType": "individual"}]}
    spp.faults.add(Instead(200, listed), matches=lambda request: request.path.endswith("/Program"))
    body = (await boss.post(DISCOVER, json=discovery(spp))).json()
    assert [program["id"] for program in body["programs"]] == [3]


async def test_a_full_page_of_programs_says_that_there_may_be_more(boss: AsyncClient, spp: FakeSpp) -> None:
    spp.programs = [{"id": number, "name": f"P{number}", "state": "active"} for number in range(1, 101)]
    body = (await boss.post(DISCOVER, json=discovery(spp))).json()
    assert (body["total"], body["truncated"]) == (100, True)


async def test_a_payload_that_is_wrong_calls_nobody(boss: AsyncClient, spp: FakeSpp) -> None:
    answer = await boss.post(DISCOVER, json=discovery(spp, clientSecret="", filter={"status": "all"}))
    assert_refused(answer, 400, "Invalid discover payload", "INVALID_DISCOVER")
    assert {tuple(issue["path"]) for issue in answer.json()["details"]} == {("clientSecret",), ("filter", "status")}
    for body in ({}, {"baseUrl": spp.url, "clientId": "dc"}, spp_client(spp, clientSecret="")):
        for path in (TRY, FIELDS):
            refused = await boss.post(path, json=body)
            assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_CONNECTION")
    assert spp.asked == 0


@pytest.mark.parametrize(
    "url", ["not a url", "openspp.example.org", "ftp://openspp.example.org", "http://[", "http://a]b/"]
)
async def test_no_url_is_no_url_of_a_registry(boss: AsyncClient, spp: FakeSpp, url: str) -> None:
    answer = await boss.post(DISCOVER, json=discovery(spp, url=url))
    assert_refused(answer, 400, "Invalid discover payload", "INVALID_DISCOVER")
    assert [issue["path"] for issue in answer.json()["details"]] == [["url"]]
    answer = await boss.post(TRY, json=spp_client(spp, baseUrl=url))
    assert (answer.status_code, answer.json()["code"], answer.json()["success"]) == (400, "URL_REFUSED", False)


@pytest.mark.parametrize(
    ("path", "error", "missing"),
    [
        (FETCH, "URL, database, username, and password are required", 4),
        (TRY, "URL, client id and client secret are required", 3),
        (DISCOVER, "Invalid discover payload", 3),
    ],
)
async def test_a_body_that_is_empty_lacks_everything(boss: AsyncClient, path: str, error: str, missing: int) -> None:
    answer = await boss.post(path)
    assert (answer.status_code, answer.json()["error"], len(answer.json()["details"])) == (400, error, missing)


async def test_an_address_is_taken_as_people_paste_it(boss: AsyncClient, spp: FakeSpp, odoo: FakeOdoo) -> None:
    assert (await boss.post(DISCOVER, json=discovery(spp, url=f" {spp.url}/\n"))).status_code == 200
    assert (await boss.post(TRY, json=spp_client(spp, baseUrl=f"{spp.url} "))).json()["success"] is True
    assert (await boss.post(FETCH, json=odoo_account(odoo, url=f" {odoo.url}"))).status_code == 200
    refused = await boss.post(FETCH, json=odoo_account(odoo, url=" "))
    assert_refused(refused, 400, "URL, database, username, and password are required", "INVALID_ODOO_CONNECTION")


@pytest.mark.parametrize(
    "filter", [{"name": ""}, {"status": "", "targetType": ""}, {"status": None, "targetType": None, "name": None}, None]
)
async def test_what_of_a_filter_is_empty_is_looked_for_as_if_absent(
    boss: AsyncClient, spp: FakeSpp, filter: dict[str, Any] | None
) -> None:
    answer = await boss.post(DISCOVER, json=discovery(spp, filter=filter))
    assert answer.status_code == 200, answer.text
    assert spp.log[-1].query == {"_count": "100", "status": "active"}


# -- what goes wrong


async def test_a_registry_that_lets_nobody_in_is_not_asked_for_programs(boss: AsyncClient, spp: FakeSpp) -> None:
    answer = await boss.post(DISCOVER, json=discovery(spp, clientSecret="wrong"))
    body = answer.json()
    assert (answer.status_code, body["error"], body["code"]) == (502, "openspp_auth_failed", "OPENSPP_AUTH_FAILED")
    assert (body["detail"], body["message"]) == (body["message"], body["detail"])
    assert spp.requests["GET /api/v2/spp/Program"] == 0


async def test_a_list_of_programs_that_fails_is_told_apart(boss: AsyncClient, spp: FakeSpp) -> None:
    spp.faults.add(Instead(500, {"detail": HEARSAY}), matches=lambda request: request.path.endswith("/Program"))
    body = (await boss.post(DISCOVER, json=discovery(spp))).json()
    assert (body["error"], body["code"]) == ("openspp_listprograms_failed", "OPENSPP_LISTPROGRAMS_FAILED")


@pytest.mark.parametrize("path", [DISCOVER, FIELDS])
async def test_an_answer_that_lists_nothing_is_not_an_empty_list(boss: AsyncClient, spp: FakeSpp, path: str) -> None:
    spp.faults.add(Instead(200, {"detail": HEARSAY}), matches=lambda request: request.method == "GET")
    answer = await boss.post(path, json=discovery(spp) | spp_client(spp))
    assert (answer.status_code, answer.json()["reason"]) == (502, "UNREADABLE")


async def test_a_registry_that_is_asked_too_often_is_told_as_that(boss: AsyncClient, spp: FakeSpp) -> None:
    spp.faults.add(Instead(429, {"detail": HEARSAY}, {"Retry-After": "17"}))
    answer = await boss.post(DISCOVER, json=discovery(spp))
    assert (answer.status_code, answer.json()["code"]) == (429, "REGISTRY_THROTTLED")
    assert (answer.headers["retry-after"], answer.json()["success"]) == ("17", False)
    # Five sign-ins in a minute are all that a registry takes, so the hub does not send a sixth.
    for _ in range(6):
        await boss.post(TRY, json=spp_client(spp))
    body = (await boss.post(TRY, json=spp_client(spp, clientId="another"))).json()
    assert (body["success"], body["code"]) == (False, "REGISTRY_THROTTLED")
    assert spp.requests["POST /api/v2/spp/oauth/token"] == 5


async def test_each_reason_has_a_text_of_its_own(
    boss: AsyncClient, spp: FakeSpp, discovery_clock: TurnableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "TOTAL_SECONDS", 0.3)
    told: dict[str, str] = {}
    for fault in (Instead(401), Instead(403), Instead(404), DropBefore(), Late(5), Instead(200, b"<html>")):
        spp.faults.add(fault)
        body = (await boss.post(TRY, json=spp_client(spp))).json()
        assert body["success"] is False and body["error"] == body["message"] and body["requestId"]
        told[body["error"]] = body["code"]
        discovery_clock.turn(seconds=61)
    spp.stop()
    refused = (await boss.post(TRY, json=spp_client(spp))).json()
    assert refused["code"] == "REGISTRY_UNREACHABLE"
    assert list(told.values()) == [
        "REGISTRY_AUTH", "REGISTRY_AUTH", "REGISTRY_NOT_FOUND", "REGISTRY_UNREACHABLE", "REGISTRY_TOO_SLOW",
        "REGISTRY_UNREADABLE",
    ]  # fmt: skip


async def test_nothing_a_registry_says_and_no_secret_gets_into_answers_or_logs(
    boss: AsyncClient, spp: FakeSpp, odoo: FakeOdoo
) -> None:
    said = {"error": {"message": HEARSAY, "data": {"name": "builtins.Boom", "message": HEARSAY, "debug": HEARSAY}}}
    odoo.faults.add(Instead(200, said))
    spp.faults.add(Instead(422, {"detail": HEARSAY}))
    with structlog.testing.capture_logs() as logs:
        answers = [
            await boss.post(FETCH, json=odoo_account(odoo)),
            await boss.post(TRY, json=spp_client(spp)),
            await boss.post(FIELDS, json=spp_client(spp, clientSecret="wrong-secret")),
            await boss.post(DISCOVER, json=discovery(spp)),
        ]
    everything = repr([answer.text for answer in answers]) + repr(logs)
    assert any(entry["event"] == "discovery.programs" for entry in logs)
    for text in ("Somchai", "db-7", PASSWORD, SECRET, "wrong-secret", "admin@"):
        assert text not in everything


# -- who may, how often, and what is kept


@pytest.mark.parametrize("path", [FETCH, TRY, FIELDS, DISCOVER])
async def test_only_administrators_make_the_hub_call_out(
    boss: AsyncClient, discovery_app: FastAPI, spp: FakeSpp, path: str
) -> None:
    body = spp_client(spp) | discovery(spp) | {"database": "d", "username": "u", "password": "p"}
    async with asgi_client(discovery_app, "nobody's") as client:
        assert_refused(await client.post(path, json=body), 401, "Invalid token")
        person = await make_person(boss)
        client.headers["Authorization"] = f"Bearer {(await login(client, person))['token']}"
        assert_refused(await client.post(path, json=body), 403, "Forbidden: Admin access required", "ADMIN_REQUIRED")
    assert spp.asked == 0


async def test_who_was_an_administrator_a_moment_ago_is_none_any_more(
    boss: AsyncClient, discovery_app: FastAPI, spp: FakeSpp
) -> None:
    person = await make_person(boss, role="ADMIN")
    async with asgi_client(discovery_app) as client:
        client.headers["Authorization"] = f"Bearer {(await login(client, person))['token']}"
        assert (await client.post(TRY, json=spp_client(spp))).status_code == 200
        await boss.put(f"/api/users/{person.id}", json={"email": person.email, "role": "USER"})
        assert (await client.post(TRY, json=spp_client(spp))).status_code in (401, 403)
    assert spp.asked == 1


async def test_the_same_question_is_asked_once_a_minute(
    boss: AsyncClient, odoo: FakeOdoo, discovery_clock: TurnableClock
) -> None:
    first = await boss.post(FETCH, json=odoo_account(odoo))
    asked = odoo.asked
    assert (await boss.post(FETCH, json=odoo_account(odoo))).json() == first.json()
    assert odoo.asked == asked
    # Whoever does not know the password is asked for it by the registry, not answered from what it told others.
    assert (await boss.post(FETCH, json=odoo_account(odoo, password="guessed"))).status_code == 502
    discovery_clock.turn(seconds=61)
    odoo.registry.models["res.partner"].fields.pop("gender")
    later = await boss.post(FETCH, json=odoo_account(odoo))
    assert len(later.json()["fields"]) == len(first.json()["fields"]) - 1


async def test_failures_are_not_kept(boss: AsyncClient, odoo: FakeOdoo) -> None:
    odoo.faults.add(Instead(503))
    assert (await boss.post(FETCH, json=odoo_account(odoo))).status_code == 502
    assert (await boss.post(FETCH, json=odoo_account(odoo))).status_code == 200


async def test_an_account_makes_the_hub_call_out_ten_times_a_minute(
    boss: AsyncClient, odoo: FakeOdoo, discovery_clock: TurnableClock
) -> None:
    async def ask(number: int) -> Response:
        return await boss.post(FETCH, json=odoo_account(odoo, fields=["name"], attributes=[f"a{number}"]))

    answers = [await ask(number) for number in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert answers[-1].headers["ratelimit-policy"] == '"discovery";q=10;w=60'
    assert odoo.calls["authenticate"] == 10
    # What is known already, and what asks nobody, is still answered.
    assert (await ask(9)).status_code == 200
    assert (await boss.post("/api/openspp-fields/parse", json={})).status_code == 200
    discovery_clock.turn(seconds=61)
    assert (await ask(11)).status_code == 200


async def test_answers_are_kept_in_a_small_place_and_not_longer_for_a_clock_set_back() -> None:
    clock = TurnableClock()
    answers = Answers(clock)

    async def number() -> int:
        numbers.append(len(numbers))
        return numbers[-1]

    numbers: list[int] = []
    for key in range(2 * MOST_ANSWERS):
        await answers.get([key], number)
    assert len(answers) == MOST_ANSWERS
    kept = numbers[-1]
    assert await answers.get([2 * MOST_ANSWERS - 1], number) == kept
    clock.turn(seconds=-30)
    assert await answers.get([2 * MOST_ANSWERS - 1], number) == kept + 1


# -- where the hub does not call


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """An administrator of a hub that calls public addresses only."""
    from datacollect.app import create_app
    from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD

    app = create_app(make_settings(tmp_path, None))
    async with app.router.lifespan_context(app), asgi_client(app) as client:
        answer = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        yield client


async def test_internal_addresses_are_refused_on_every_route(strict: AsyncClient, odoo: FakeOdoo) -> None:
    internal = (odoo.url, "http://169.254.169.254", "http://no-such-host.invalid")
    for url, path in zip(
        (*internal, odoo.url, *internal), (FETCH,) * 3 + (TRY, FIELDS, DISCOVER, DISCOVER), strict=True
    ):
        body = odoo_account(odoo, url=url) | {"baseUrl": url, "clientId": "dc", "clientSecret": SECRET}
        answer = await strict.post(path, json=body)
        assert_refused(answer, 400, "URLs targeting private or internal networks are not allowed", "URL_INTERNAL")
        assert answer.json()["success"] is False
    assert odoo.asked == 0


async def test_a_registry_that_redirects_is_not_followed(boss: AsyncClient, spp: FakeSpp, odoo: FakeOdoo) -> None:
    spp.faults.add(Instead(307, None, {"Location": f"{odoo.url}/api/v2/spp/oauth/token"}))
    body = (await boss.post(TRY, json=spp_client(spp))).json()
    assert (body["success"], odoo.asked) == (False, 0)


async def test_a_registry_that_never_answers_is_given_up(
    boss: AsyncClient, odoo: FakeOdoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "TOTAL_SECONDS", 0.2)
    odoo.faults.add(Late(30))
    async with asyncio.timeout(5):
        answer = await boss.post(FETCH, json=odoo_account(odoo))
    assert (answer.status_code, answer.json()["reason"]) == (502, "TOO_SLOW")
