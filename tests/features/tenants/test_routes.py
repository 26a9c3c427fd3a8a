"""`/api/apps` through HTTP."""

import asyncio
import json
import re
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from datacollect.kernel.ids import TenantId
from tests.accounts import login, make_person
from tests.conftest import asgi_client
from tests.factories import make_config, make_event, new_id, pull_all, push

pytestmark = pytest.mark.anyio

FORMS = [
    {"id": "f1", "name": "household", "title": "Household", "formio": {"components": []}},
    {"id": "f2", "name": "individual", "title": "Person", "dependsOn": "household", "formio": {"components": []}},
]
SEEDS = [
    {"name": "household", "data": [{"id": "hh-1", "name": "One"}, {"id": "hh-2", "name": "Two"}]},
    {"name": "individual", "data": [{"id": "p-1", "name": "Ana", "parentId": "hh-1"}]},
]
MASK = "********"


def upload(config: Any, *, field: str = "config", media_type: str = "application/json") -> dict[str, Any]:
    """A config as the admin app sends it."""
    content = config if isinstance(config, bytes) else json.dumps(config).encode()
    return {"files": {field: ("config.json", content, media_type)}}


async def make_member(admin: AsyncClient, app: Any, *programs: str, role: str | None = None) -> AsyncClient:
    """A client signed in as a user of these programs."""
    email = f"{new_id('u')}@hub.test"
    assignments = [{"tenantId": program, "role": role} for program in programs] if role else []
    user = {"email": email, "password": "Correct-Horse-8", "role": "USER"}
    answer = await admin.post("/api/users", json=user | {"tenantIds": programs, "roleAssignments": assignments})
    assert answer.status_code in (200, 201), answer.text
    async with asgi_client(app) as client:
        login = await client.post("/api/users/login", json={"email": email, "password": "Correct-Horse-8"})
    return asgi_client(app, login.json()["token"])


# --- POST ----------------------------------------------------------------------------------------------------------


async def test_an_upload_answers_success_and_the_artifact_id(admin: AsyncClient) -> None:
    answer = await admin.post("/api/apps", **upload(make_config()))
    assert answer.status_code == 200
    assert set(answer.json()) == {"status", "artifactId"}
    assert answer.json()["status"] == "success"
    assert re.fullmatch("[0-9a-f]{32}", answer.json()["artifactId"])


async def test_the_config_may_be_the_body_itself(admin: AsyncClient) -> None:
    config = make_config()
    assert (await admin.post("/api/apps", json=config)).status_code == 200
    assert (await admin.get(f"/api/apps/{config['id']}")).json()["name"] == config["name"]


async def test_what_the_hub_does_not_know_is_answered_as_warnings(admin: AsyncClient) -> None:
    answer = await admin.post("/api/apps", **upload(make_config(roles=["x"])))
    assert answer.json()["warnings"] == ["roles: there is no such key; it is ignored"]


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        ({"json": {"a": 1}}, 400, "No JSON file uploaded"),
        ({}, 400, "No JSON file uploaded"),
        ({"files": {"text": (None, "x")}}, 400, "No JSON file uploaded"),
        (upload({"id": "x", "name": "X"}, field="other"), 400, "Unexpected field"),
        (upload({"id": "x", "name": "X"}, media_type="text/plain"), 415, "Only JSON files are allowed"),
        (upload({"id": "x", "name": "X"}, media_type="application/octet-stream"), 415, "Only JSON files are allowed"),
        ({"content": b"<xml/>", "headers": {"Content-Type": "text/xml"}}, 415, "Only JSON files are allowed"),
        (upload(b"{"), 400, "The body is not valid JSON"),
        (upload(b'{"id":"x","id":"y"}'), 400, "same key twice"),
        (upload(b'{"id":"x\\u0000","name":"X"}'), 400, "NUL character"),
        (upload(b'\xff{"id":"x"}'), 400, "JSON"),
        (upload({"id": "bad id", "name": "X"}), 400, "Invalid config id. Use alphanumeric characters, hyphen or"),
        (upload({"id": "x", "name": ""}), 400, "Invalid app config JSON"),
        (upload([]), 400, "Invalid app config JSON"),
        (upload({}), 400, "Invalid app config JSON"),
        (upload({"a": 1}), 400, "Invalid app config JSON"),
        (
            {"content": b"--x--", "headers": {"Content-Type": "multipart/form-data"}},
            400,
            "",
        ),
    ],
)
async def test_an_unusable_upload_is_refused(
    admin: AsyncClient, request_: dict[str, Any], status: int, text: str
) -> None:
    answer = await admin.post("/api/apps", **request_)
    body = answer.json()
    assert (answer.status_code, body["error"]) == (status, body["message"])
    assert text in body["error"]
    assert re.fullmatch("[A-Z_]+", body["code"])
    assert (await admin.get("/api/apps/x")).status_code == 404


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, ["clientId", "clientSecret"]),
        ({"adapterConfig": {"clientId": "c", "clientSecret": ""}}, ["clientSecret"]),
        ({"adapterConfig": {"clientSecret": "s"}, "extraFields": {"clientId": "c"}}, []),
    ],
)
async def test_an_adapter_without_what_it_needs_is_refused_and_nothing_stored(
    admin: AsyncClient, given: dict[str, Any], missing: list[str]
) -> None:
    path = f"/api/apps/{(config := make_config())['id']}"
    await admin.post("/api/apps", **upload(config))
    changed = config | {"externalSync": {"type": "mock", "url": "https://registry.example"} | given}
    for answer in (await admin.post("/api/apps", **upload(changed)), await admin.put(path, **upload(changed))):
        assert answer.status_code == (400 if missing else 200)
        if missing:
            said = "; ".join(f"externalSync.adapterConfig.{name}: is required" for name in missing)
            assert answer.json()["error"] == f'Invalid config for adapter "mock": {said}'
            assert [issue["path"] for issue in answer.json()["details"]] == [
                ["externalSync", "adapterConfig", name] for name in missing
            ]
    assert ((await admin.get(path)).json()["externalSync"] is None) == bool(missing)


async def test_an_adapter_whose_address_leads_nowhere_is_refused_in_the_same_words(admin: AsyncClient) -> None:
    login = {"clientId": "c", "clientSecret": "s"}
    config = make_config(externalSync={"type": "mock", "url": "registry", "adapterConfig": login})
    answer = await admin.post("/api/apps", **upload(config))
    assert answer.status_code == 400
    assert answer.json()["error"].startswith('Invalid config for adapter "mock": externalSync.url: ')
    elsewhere = await admin.post("/api/apps", **upload(config | {"url": "ftp://x.test"}))
    assert elsewhere.json()["error"] == "Invalid app config JSON"


async def test_a_schema_error_lists_its_issues(admin: AsyncClient) -> None:
    config = make_config(entityForms=[{"id": "a", "name": "b", "title": "c"}])
    answer = await admin.post("/api/apps", **upload(config))
    assert answer.json()["error"] == "Invalid app config JSON"
    issue = answer.json()["details"][0]
    assert issue["path"] == ["entityForms", 0, "formio"]
    assert issue["message"] == "entityForms[0].formio: Field required"


async def test_a_file_over_ten_megabytes_is_413(admin: AsyncClient) -> None:
    padded = json.dumps(make_config()).encode() + b" " * (10 * 1024 * 1024)
    for answer in (
        await admin.post("/api/apps", **upload(padded)),
        await admin.post("/api/apps", content=padded, headers={"Content-Type": "application/json"}),
    ):
        assert answer.status_code == 413
        assert answer.json()["code"] == "PAYLOAD_TOO_LARGE"


async def test_a_file_of_many_megabytes_is_taken(admin: AsyncClient) -> None:
    config = make_config(description="x" * 9_000_000)
    assert (await admin.post("/api/apps", **upload(config))).status_code == 200
    config["description"] = "x"
    assert (await admin.post("/api/apps", json=config)).status_code == 200


async def test_uploading_needs_an_administrator(admin: AsyncClient, client: AsyncClient, app: Any) -> None:
    assert (await client.post("/api/apps", **upload(b"{"))).status_code == 401
    async with await make_member(admin, app) as member:
        answer = await member.post("/api/apps", **upload(make_config()))
    assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden: Admin access required")


async def test_uploading_again_replaces_keeps_the_artifact_id_and_runs(admin: AsyncClient, hub: Hub) -> None:
    config = make_config(description="first", version="1")
    first = (await admin.post("/api/apps", **upload(config))).json()["artifactId"]
    await admin.delete(f"/api/apps/{config['id']}")
    assert await hub.tenants.find(config["id"]) is None
    del config["version"]
    again = await admin.post("/api/apps", **upload(config | {"description": "second"}))
    assert again.json()["artifactId"] == first
    stored = (await admin.get(f"/api/apps/{config['id']}")).json()
    assert (stored["description"], stored["version"], stored["archivedAt"]) == ("second", None, None)
    assert await hub.tenants.find(config["id"]) is not None


# --- Seeding -------------------------------------------------------------------------------------------------------


async def test_seeds_arrive_at_devices_as_ordinary_events(admin: AsyncClient) -> None:
    config = make_config(entityForms=FORMS, entityData=SEEDS)
    assert set((await admin.post("/api/apps", **upload(config))).json()) == {"status", "artifactId"}
    events = await pull_all(admin, config["id"])
    assert [(event["type"], event["entityGuid"]) for event in events] == [
        ("create-group", "hh-1"),
        ("create-group", "hh-2"),
        ("create-individual", "p-1"),
        ("add-member", "hh-1"),
    ]
    assert len({event["timestamp"] for event in events}) == 4
    assert {(event["userId"], event["syncLevel"]) for event in events} == {("admin", 1)}
    assert events[2]["data"]["entityName"] == "individual"


async def test_uploading_again_seeds_only_what_is_new(admin: AsyncClient) -> None:
    config = make_config(entityForms=FORMS, entityData=SEEDS)
    await admin.post("/api/apps", **upload(config))
    before = await pull_all(admin, config["id"])
    await admin.post("/api/apps", **upload(config))
    assert await pull_all(admin, config["id"]) == before
    more = json.loads(json.dumps(SEEDS))
    more[1]["data"].append({"id": "p-2", "name": "Ben", "parentId": "hh-2"})
    await admin.post("/api/apps", **upload(config | {"entityData": more}))
    after = await pull_all(admin, config["id"])
    assert after[: len(before)] == before
    assert [(event["type"], event["entityGuid"]) for event in after[len(before) :]] == [
        ("create-individual", "p-2"),
        ("add-member", "hh-2"),
    ]


async def test_a_seed_that_cannot_be_applied_is_a_warning_and_the_rest_is_seeded(admin: AsyncClient) -> None:
    config = make_config(entityForms=FORMS)
    await admin.post("/api/apps", **upload(config))
    person = make_event("create-individual", entity="hh-1")
    assert (await push(admin, config["id"], person)).status_code == 200
    answer = await admin.post("/api/apps", **upload(config | {"entityData": SEEDS}))
    assert answer.status_code == 200
    assert answer.json()["warnings"]
    for warning in answer.json()["warnings"]:
        assert warning.startswith("Program saved, but starting its runtime instance failed: ")
        assert 'of seed "hh-1": ' in warning
    assert {"hh-2", "p-1"} <= {event["entityGuid"] for event in await pull_all(admin, config["id"])}


@pytest.mark.parametrize(("length", "status"), [(170, 200), (171, 400), (5000, 400)])
async def test_ids_of_seeds_are_no_longer_than_those_devices_may_push(
    admin: AsyncClient, length: int, status: int
) -> None:
    seed = {"id": "".join(chr(0x4E00 + n) for n in range(length)), "name": "Long"}
    answer = await admin.post("/api/apps", json=make_config(entityData=[{"name": "individual", "data": [seed]}]))
    assert answer.status_code == status, answer.text
    if status == 400:
        assert [issue["path"] for issue in answer.json()["details"]] == [["entityData", 0, "data", 0, "id"]]


async def test_replacing_by_put_does_not_seed_and_says_so(admin: AsyncClient) -> None:
    config = make_config(entityForms=FORMS)
    await admin.post("/api/apps", **upload(config))
    path = f"/api/apps/{config['id']}"
    answer = await admin.put(path, **upload(config | {"entityData": SEEDS}))
    assert answer.json()["warnings"] == [
        "entityData: is stored but not seeded: POST the config to seed what is not there yet"
    ]
    assert await pull_all(admin, config["id"]) == []
    assert "warnings" not in (await admin.put(path, **upload(config | {"entityData": SEEDS}))).json()


# --- GET -----------------------------------------------------------------------------------------------------------


async def test_a_config_reads_back_with_its_empty_forms(admin: AsyncClient) -> None:
    config_id = new_id()
    artifact_id = (await admin.post("/api/apps", **upload({"id": config_id, "name": "Bare"}))).json()["artifactId"]
    answer = await admin.get(f"/api/apps/{config_id}")
    assert answer.headers["etag"].startswith('"1.')
    document = answer.json()
    assert document.pop("createdAt") == document.pop("updatedAt")
    assert document == {
        "id": config_id,
        "artifactId": artifact_id,
        "name": "Bare",
        "description": None,
        "version": None,
        "url": None,
        "entityForms": [],
        "entityData": [],
        "externalSync": None,
        "authConfigs": [],
        "archivedAt": None,
        "revision": 1,
        "status": "running",
    }


async def test_archived_programs_are_read_with_their_moment(admin: AsyncClient) -> None:
    config = make_config()
    await admin.post("/api/apps", **upload(config))
    await admin.delete(f"/api/apps/{config['id']}")
    assert (await admin.get(f"/api/apps/{config['id']}")).json()["archivedAt"].endswith("Z")


async def test_an_unknown_program_is_404(admin: AsyncClient) -> None:
    for answer in (await admin.get("/api/apps/nope"), await admin.get("/api/apps/nope/public")):
        assert (answer.status_code, answer.json()["error"]) == (404, "Configuration not found")


async def test_members_read_their_programs_only(admin: AsyncClient, client: AsyncClient, app: Any) -> None:
    mine, other = make_config(), make_config()
    for config in (mine, other):
        await admin.post("/api/apps", **upload(config))
    async with await make_member(admin, app, mine["id"], role="viewer") as member:
        assert (await member.get(f"/api/apps/{mine['id']}")).status_code == 200
        for foreign in (other["id"], "unknown"):
            answer = await member.get(f"/api/apps/{foreign}")
            assert (answer.status_code, answer.json()["error"]) == (
                403,
                "You do not have permission to view this program.",
            )
        listed = (await member.get("/api/apps", params={"includeArchived": "true"})).json()
    assert [line["id"] for line in listed["data"]] == [mine["id"]]
    assert (await client.get(f"/api/apps/{mine['id']}")).status_code == 401
    assert (await client.get("/api/apps")).status_code == 401


async def test_a_user_without_programs_sees_an_empty_list(admin: AsyncClient, app: Any) -> None:
    async with await make_member(admin, app) as member:
        body = (await member.get("/api/apps")).json()
    assert body["data"] == []
    assert (body["meta"]["total"], body["meta"]["page"], body["meta"]["totalPages"]) == (0, 1, 0)


SECRETIVE = {
    "externalSync": {
        "type": "openspp-v2-adapter",
        "url": "https://registry.example",
        "adapterConfig": {"clientSecret": "CANARY-A", "batchSize": 5},
        "extraFields": {"clientId": "CANARY-B"},
        "stray": {"token": "CANARY-C"},
    },
    "authConfigs": [{"type": "auth0", "fields": {"client_id": "app", "api key": "CANARY-D", "odd": "CANARY-E"}}],
}


async def test_secrets_are_for_administrators_only(admin: AsyncClient, client: AsyncClient, app: Any) -> None:
    config = make_config(**SECRETIVE, entityData=[{"name": "individual", "data": [{"id": "1", "name": "CANARY-F"}]}])
    artifact_id = (await admin.post("/api/apps", **upload(config))).json()["artifactId"]
    path = f"/api/apps/{config['id']}"
    for letter in "ABCDEF":
        assert f"CANARY-{letter}" in (await admin.get(path)).text
    async with await make_member(admin, app, config["id"], role="supervisor") as member:
        shown = [await member.get(path), await member.get("/api/apps"), await client.get(f"{path}/public")]
    shown.append(await client.get(f"/artifacts/{artifact_id}.json"))
    for answer in shown:
        assert answer.status_code == 200
        assert "CANARY" not in answer.text
    assert shown[0].json()["externalSync"]["adapterConfig"] == {"clientSecret": MASK, "batchSize": MASK}
    assert shown[1].json()["data"][0]["externalSync"]["extraFields"] == [{"name": "clientId", "value": MASK}]


async def test_a_config_manager_edits_without_seeing_secrets(admin: AsyncClient, app: Any) -> None:
    config = make_config(**SECRETIVE)
    await admin.post("/api/apps", **upload(config))
    path = f"/api/apps/{config['id']}"
    before = (await admin.get(path)).json()
    async with await make_member(admin, app, config["id"], role="system-admin") as manager:
        seen = (await manager.get(path)).json()
        assert "CANARY" not in json.dumps(seen)
        answer = await manager.put(path, **upload(seen | {"description": "edited"}))
        assert answer.status_code == 200, answer.text
        assert not [told for told in answer.json()["warnings"] if "externalSync" in told]
        seen["externalSync"]["url"] = "https://attacker.example"
        stolen = await manager.put(path, **upload(seen))
        assert stolen.status_code == 400
        assert ["externalSync", "adapterConfig", "clientSecret"] in [i["path"] for i in stolen.json()["details"]]
    after = (await admin.get(path)).json()
    assert after["description"] == "edited"
    assert (after["externalSync"], after["authConfigs"]) == (before["externalSync"], before["authConfigs"])


async def test_a_mask_for_nothing_is_refused(admin: AsyncClient) -> None:
    config = make_config(externalSync={"type": "x", "adapterConfig": {"secret": MASK}})
    answer = await admin.post("/api/apps", **upload(config))
    assert answer.status_code == 400
    assert (await admin.get(f"/api/apps/{config['id']}")).status_code == 404


async def test_a_login_screen_needs_no_token_and_learns_no_more(admin: AsyncClient, client: AsyncClient) -> None:
    config = make_config(description="Demo", **SECRETIVE)
    await admin.post("/api/apps", **upload(config))
    path = f"/api/apps/{config['id']}/public"
    answer = await client.get(path)
    assert answer.json() == {"name": config["name"], "description": "Demo", "authConfigs": [{"type": "auth0"}]}
    assert answer.headers["ratelimit"].startswith('"public";r=')
    await admin.delete(f"/api/apps/{config['id']}")
    assert (await client.get(path)).status_code == 404


async def test_a_login_screen_has_what_it_needs_and_nothing_else(admin: AsyncClient, client: AsyncClient) -> None:
    oidc = {"authority": "https://idp.example", "clientId": "c", "redirectUri": "app://cb", "scope": "openid"}
    mapping = {"entityMapping": {"primaryClaim": "sub", "entityField": "nationalId"}, "acrValues": "level-2"}
    service = {"enabled": True, "authMethods": ["otp", "oidc"], "allowedForms": ["individual"], "requireReview": True}
    config = make_config(selfService=service | {"oidcConfig": oidc | mapping}, syncScope={"entityTypes": ["group"]})
    await admin.post("/api/apps", **upload(config))
    answer = await client.get(f"/api/apps/{config['id']}/public")
    assert answer.json() == {
        "name": config["name"],
        "selfService": {
            "enabled": True,
            "authMethods": ["otp", "oidc"],
            "languages": ["en"],
            "oidcConfig": oidc | {"acrValues": "level-2"},
        },
    }
    assert {"ratelimit", "ratelimit-policy"} <= set(answer.headers)
    bare = make_config()
    await admin.post("/api/apps", **upload(bare))
    assert (await client.get(f"/api/apps/{bare['id']}/public")).json() == {"name": bare["name"]}


async def test_strangers_may_not_guess_ids_for_long(app: Any) -> None:
    async with asgi_client(app, address="192.0.2.7") as stranger:
        answers = [await stranger.get(f"/api/apps/{new_id()}/public") for _ in range(61)]
    assert [answer.status_code for answer in answers] == [404] * 60 + [429]
    last = answers[-1]
    assert last.json()["error"] == "Too many requests, please try again later"
    assert 0 < int(last.headers["retry-after"]) <= 900
    assert last.headers["ratelimit-policy"] == '"public";q=60;w=900'


# --- List ----------------------------------------------------------------------------------------------------------


async def test_the_list_has_the_members_clients_read(admin: AsyncClient) -> None:
    config = make_config(entityForms=FORMS, entityData=SEEDS)
    artifact_id = (await admin.post("/api/apps", **upload(config))).json()["artifactId"]
    body = (await admin.get("/api/apps", params={"search": config["id"].upper()})).json()
    assert body == {
        "data": [
            {
                "id": config["id"],
                "artifactId": artifact_id,
                "name": config["name"],
                "version": "",
                "description": "",
                "externalSync": {},
                "entitiesCount": 3,
                "archivedAt": None,
                "status": "running",
            }
        ],
        "meta": {
            "total": 1,
            "page": 1,
            "pageSize": 12,
            "totalPages": 1,
            "sortBy": "name",
            "sortOrder": "asc",
            "search": config["id"],
        },
    }


async def test_the_list_is_paged_sorted_and_searched(admin: AsyncClient) -> None:
    mark = new_id("mark")
    for name, count in (("b", 2), ("A", 0), ("c", 1)):
        people = [{"id": f"p-{i}", "name": "N"} for i in range(count)]
        seeds = [{"name": "individual", "data": people}] if count else []
        await admin.post("/api/apps", **upload(make_config(f"{mark}-{name}", name=name, entityData=seeds)))

    async def listed(**parameters: Any) -> tuple[list[str], dict[str, Any]]:
        body = (await admin.get("/api/apps", params={"search": mark} | parameters)).json()
        return [line["name"] for line in body["data"]], body["meta"]

    assert (await listed())[0] == ["A", "b", "c"]
    assert (await listed(sortOrder="DESC"))[0] == ["c", "b", "A"]
    assert (await listed(sortBy="entitiesCount"))[0] == ["A", "c", "b"]
    names, meta = await listed(sortBy="size", sortOrder="down", page="x", pageSize="0")
    assert names == ["A"]
    assert (meta["sortBy"], meta["sortOrder"], meta["page"], meta["pageSize"]) == ("size", "asc", 1, 1)
    names, meta = await listed(page="9", pageSize="2")
    assert (names, meta["page"], meta["totalPages"], meta["total"]) == (["c"], 2, 2, 3)
    assert (await listed(pageSize="500"))[1]["pageSize"] == 100
    await admin.delete(f"/api/apps/{mark}-b")
    assert (await listed())[0] == ["A", "c"]
    assert (await listed(includeArchived="TRUE"))[0] == ["A", "c"]
    assert (await listed(includeArchived="true"))[0] == ["A", "b", "c"]


async def test_who_is_limited_to_a_part_is_not_told_how_much_there_is_in_all(
    app: FastAPI, client: AsyncClient, admin: AsyncClient
) -> None:
    mark = new_id("mark")
    for name, count in (("a", 2), ("b", 1), ("c", 3)):
        seeds = [{"name": "individual", "data": [{"id": f"p-{i}", "name": "N"} for i in range(count)]}]
        await admin.post("/api/apps", **upload(make_config(f"{mark}-{name}", entityData=seeds)))
    assignments = [
        {"tenantId": f"{mark}-a", "role": "viewer", "areaId": "A1"},
        {"tenantId": f"{mark}-b", "role": "viewer"},
        {"tenantId": f"{mark}-c", "role": "viewer", "syncScopeOverride": {"entityTypes": ["group"]}},
    ]
    person = await make_person(admin, tenantIds=[one["tenantId"] for one in assignments], roleAssignments=assignments)
    async with asgi_client(app, (await login(client, person))["token"]) as limited:
        for order in ("name", "entitiesCount"):
            lines = (await limited.get("/api/apps", params={"sortBy": order})).json()["data"]
            assert {line["id"][-1]: line["entitiesCount"] for line in lines} == {"a": None, "b": 1, "c": None}
    assert [line["id"][-1] for line in lines] == ["a", "c", "b"], "their order tells nothing either"


@pytest.mark.parametrize("sort_by", ["name", "entitiesCount"])
async def test_the_list_takes_three_statements(admin: AsyncClient, hub: Hub, sort_by: str) -> None:
    for _ in range(3):
        await admin.post("/api/apps", **upload(make_config()))
    with hub.db.statements.record() as statements:
        await admin.get("/api/apps", params={"pageSize": "100", "sortBy": sort_by})
    assert len([s for s in statements if "programs" in s or "log_heads" in s]) == 3


# --- PATCH ---------------------------------------------------------------------------------------------------------


async def test_a_section_that_is_edited_by_itself_is_looked_through_too(admin: AsyncClient) -> None:
    config = make_config()
    await admin.post("/api/apps", **upload(config))
    path = f"/api/apps/{config['id']}"
    scope = await admin.patch(f"{path}/syncScope", json={"syncScope": {"areaIds": ["a", "a"]}})
    assert scope.json()["warnings"] == ['syncScope.areaIds[1]: "a" is named twice']
    issuer = {"issuerId": "did:x", "publicKey": {"es256": ""}}
    claim = await admin.patch(f"{path}/claim169", json={"claim169": {"enabled": True, "trustedIssuers": [issuer]}})
    assert claim.json()["warnings"] == [
        "claim169.trustedIssuers[0].publicKey: has no key: nothing of this issuer is accepted"
    ]
    assert "warnings" not in (await admin.patch(f"{path}/syncScope", json={"syncScope": None})).json()


# --- PUT -----------------------------------------------------------------------------------------------------------


async def test_a_put_replaces_everything_and_keeps_the_artifact_id(admin: AsyncClient) -> None:
    config = make_config(description="x", entityData=[{"name": "individual", "data": [{"id": "1", "name": "N"}]}])
    artifact_id = (await admin.post("/api/apps", **upload(config))).json()["artifactId"]
    bare = {"id": config["id"], "name": "Bare"}
    answer = await admin.put(f"/api/apps/{config['id']}", **upload(bare))
    removed = "entityData: the upload has no seeds; those stored are removed from the config"
    assert answer.json() == {"status": "success", "artifactId": artifact_id, "warnings": [removed]}
    stored = (await admin.get(f"/api/apps/{config['id']}")).json()
    assert (stored["name"], stored["description"], stored["entityForms"], stored["entityData"]) == (
        "Bare",
        None,
        [],
        [],
    )


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("unknown-one", {"id": "unknown-one", "name": "X"}, 404, "Configuration not found"),
        ("one", {"id": "other", "name": "X"}, 400, "Config id mismatch between payload and URL"),
        ("bad%20id", {"id": "bad id", "name": "X"}, 400, "Invalid config id"),
    ],
)
async def test_a_put_to_the_wrong_place_is_refused(
    admin: AsyncClient, path: str, body: Any, status: int, text: str
) -> None:
    answer = await admin.put(f"/api/apps/{path}", **upload(body))
    assert answer.status_code == status
    assert text in answer.json()["message"]


async def test_a_put_leaves_an_archived_program_archived(admin: AsyncClient, hub: Hub) -> None:
    config = make_config()
    await admin.post("/api/apps", **upload(config))
    await admin.delete(f"/api/apps/{config['id']}")
    assert (await admin.put(f"/api/apps/{config['id']}", **upload(config))).status_code == 200
    await admin.patch(f"/api/apps/{config['id']}/programs", json={"programs": None})
    assert (await admin.get(f"/api/apps/{config['id']}")).json()["archivedAt"] is not None
    assert await hub.tenants.find(config["id"]) is None


async def test_two_editors_do_not_overwrite_each_other_unseen(admin: AsyncClient) -> None:
    config = make_config()
    await admin.post("/api/apps", **upload(config))
    path = f"/api/apps/{config['id']}"
    etag = (await admin.get(path)).headers["etag"]
    mine = await admin.put(path, **upload(config | {"name": "Mine"}), headers={"If-Match": etag})
    assert mine.status_code == 200
    theirs = await admin.put(path, **upload(config | {"name": "Theirs"}), headers={"If-Match": etag})
    assert (theirs.status_code, theirs.json()["code"]) == (412, "PROGRAM_CHANGED")
    late = await admin.patch(f"{path}/programs", json={"programs": None}, headers={"If-Match": etag})
    assert late.status_code == 412
    odd = await admin.put(path, **upload(config), headers={"If-Match": "latest"})
    assert odd.status_code == 400
    assert (await admin.get(path)).json()["name"] == "Mine"


async def test_changing_a_program_needs_its_manager(admin: AsyncClient, client: AsyncClient, app: Any) -> None:
    config = make_config()
    await admin.post("/api/apps", **upload(config))
    path = f"/api/apps/{config['id']}"
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", path, upload(config)),
        ("PATCH", f"{path}/syncScope", {"json": {"syncScope": None}}),
        ("PATCH", f"{path}/programs", {"json": {"programs": None}}),
        ("PATCH", f"{path}/claim169", {"json": {"claim169": None}}),
        ("PATCH", f"{path}/inji", {"json": {"inji": None}}),
        ("DELETE", path, {}),
        ("POST", f"{path}/restore", {}),
    ]
    async with await make_member(admin, app, config["id"], role="program-admin") as member:
        for method, url, body in calls:
            assert (await client.request(method, url, **body)).status_code == 401
            answer = await member.request(method, url, **body)
            assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden: Admin access required"), url


# --- PATCH ---------------------------------------------------------------------------------------------------------

SCOPE = {
    "areaIds": ["A1"],
    "entityTypes": ["individual"],
    "timeWindow": {"type": "fixed", "floor": "2025-01-01T00:00:00Z"},
}
CLAIM = {"enabled": True, "trustedIssuers": [{"issuerId": "did:x", "publicKey": {"ed25519": "z6Mk"}}]}
INJI = {
    "enabled": True,
    "trustedIssuers": [{"issuerId": "did:x", "publicKey": {"es256": "k"}}],
    "credentialTemplates": [{"id": "t", "matchTypes": ["V"], "expectedFormat": "jwt-vc"}],
}


@pytest.mark.parametrize(
    ("section", "sent", "stored", "cleared"),
    [
        ("syncScope", SCOPE, SCOPE, None),
        (
            "programs",
            [{"id": 1, "name": "A", "code": ""}, {"id": 2, "name": "B", "code": "C"}],
            [{"id": 1, "name": "A"}, {"id": 2, "name": "B", "code": "C"}],
            [],
        ),
        (
            "claim169",
            {"enabled": True, "trustedIssuers": [{"issuerId": "did:x", "publicKey": {"ed25519": "z6Mk", "es256": ""}}]},
            CLAIM,
            None,
        ),
        ("inji", INJI | {"trustedIssuers": [INJI["trustedIssuers"][0] | {"kid": None}]}, INJI, None),
    ],
)
async def test_a_section_is_set_and_cleared(
    admin: AsyncClient, section: str, sent: Any, stored: Any, cleared: Any
) -> None:
    config = make_config()
    await admin.post("/api/apps", **upload(config))
    path = f"/api/apps/{config['id']}"
    answer = await admin.patch(f"{path}/{section}", json={section: sent})
    assert (answer.status_code, answer.json()) == (200, {"status": "success", section: stored})
    after = (await admin.get(path)).json()
    assert after[section] == stored
    assert after["entityForms"] == config["entityForms"]
    answer = await admin.patch(f"{path}/{section}", json={section: None})
    assert answer.json() == {"status": "success", section: cleared}
    assert section not in (await admin.get(path)).json()


@pytest.mark.parametrize(
    ("section", "sent"),
    [
        ("syncScope", {"areaIds": []}),
        ("syncScope", "x"),
        ("programs", [{"id": 1}]),
        ("claim169", {"enabled": True}),
        ("inji", INJI | {"credentialTemplates": [{"id": "t", "matchTypes": [], "expectedFormat": "json-ld"}]}),
    ],
)
async def test_a_wrong_section_is_refused_and_nothing_changes(admin: AsyncClient, section: str, sent: Any) -> None:
    config = make_config()
    await admin.post("/api/apps", **upload(config))
    path = f"/api/apps/{config['id']}"
    for body in ({section: sent}, {}, []):
        answer = await admin.patch(f"{path}/{section}", json=body)
        assert (answer.status_code, answer.json()["error"]) == (400, f"Invalid {section} payload")
        assert answer.json()["details"]
    assert (await admin.get(path)).json()["revision"] == 1


@pytest.mark.parametrize("section", ["syncScope", "programs", "claim169", "inji"])
async def test_a_section_of_no_program_is_refused(admin: AsyncClient, section: str) -> None:
    assert (await admin.patch(f"/api/apps/nope/{section}", json={section: None})).status_code == 404
    assert (await admin.patch(f"/api/apps/bad%20id/{section}", json={section: None})).status_code == 400


async def test_a_sync_scope_counts_at_once(admin: AsyncClient, hub: Hub) -> None:
    config = make_config()
    await admin.post("/api/apps", **upload(config))
    before = await hub.tenants.find(config["id"])
    await admin.patch(f"/api/apps/{config['id']}/syncScope", json={"syncScope": {"areaIds": ["A1"]}})
    after = await hub.tenants.find(config["id"])
    assert before is not None and before.sync_scope is None
    assert after is not None and after.sync_scope == {"areaIds": ["A1"]}


# --- Archive and restore -------------------------------------------------------------------------------------------


async def test_archiving_stops_the_program_at_once_and_restoring_starts_it(admin: AsyncClient, hub: Hub) -> None:
    config = make_config(entityForms=FORMS, entityData=SEEDS)
    await admin.post("/api/apps", **upload(config))
    path = f"/api/apps/{config['id']}"
    parameters = {"configId": config["id"], "since": ""}
    before = (await admin.get("/api/sync/pull", params=parameters)).json()
    assert (await admin.delete(path)).json() == {"status": "success"}
    assert await hub.tenants.find(TenantId(config["id"])) is None
    stopped = await admin.get("/api/sync/pull", params=parameters)
    unknown = await admin.get("/api/sync/pull", params=parameters | {"configId": "nope"})
    assert (stopped.status_code, stopped.json()["code"]) == (unknown.status_code, unknown.json()["code"])
    assert (await admin.post(f"{path}/restore")).json() == {"status": "success"}
    assert (await admin.get("/api/sync/pull", params=parameters)).json() == before


async def test_archiving_and_restoring_an_unknown_program_is_404(admin: AsyncClient) -> None:
    for answer in (await admin.delete("/api/apps/nope"), await admin.post("/api/apps/nope/restore")):
        assert (answer.status_code, answer.json()["error"]) == (404, "Configuration not found")
    assert (await admin.delete("/api/apps/bad%20id")).status_code == 400


# --- Together ------------------------------------------------------------------------------------------------------


async def test_uploads_of_one_new_program_at_once_make_one_program(admin: AsyncClient) -> None:
    config = make_config(entityForms=FORMS, entityData=SEEDS)
    answers = await asyncio.gather(*(admin.post("/api/apps", **upload(config)) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["artifactId"] for answer in answers}) == 1
    assert len(await pull_all(admin, config["id"])) == 4
    assert (await admin.get(f"/api/apps/{config['id']}")).json()["revision"] == 8


async def test_a_thousand_seeds_are_stored_in_a_constant_number_of_statements(admin: AsyncClient, hub: Hub) -> None:
    counts = []
    for many in (1, 1000):
        people = [{"id": f"p-{i}", "name": f"Person {i}"} for i in range(many)]
        config = make_config(entityForms=FORMS, entityData=[{"name": "household", "data": people}])
        with hub.db.statements.record() as statements:
            assert (await admin.post("/api/apps", **upload(config))).status_code == 200
        # Who asks is remembered for a second, which a slow machine may need; jobs are looked for now and then.
        counts.append(len([sql for sql in statements if "FROM users" not in sql and "FROM jobs" not in sql]))
        listed = (await admin.get("/api/apps", params={"search": config["id"]})).json()
        assert listed["data"][0]["entitiesCount"] == many
    assert counts[0] == counts[1]


async def test_every_answer_is_described(app: Any, client: AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    body = paths["/api/apps"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    assert body["multipart/form-data"]["schema"]["required"] == ["config"]
    described = {(path, method) for path, item in paths.items() for method in item}
    assert {
        ("/api/apps", "get"),
        ("/api/apps/{id}", "put"),
        ("/api/apps/{id}/inji", "patch"),
        ("/api/apps/{id}/restore", "post"),
        ("/artifacts/{artifactId}.json", "get"),
        ("/artifacts/{artifactId}.png", "get"),
    } <= described
