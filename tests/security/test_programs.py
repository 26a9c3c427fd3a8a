"""The attacker on programs: weak points C1-C24 of the reference's configs and artifacts, as far as they concern security."""

import random
import re
import secrets
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from tests.accounts import bearer, login, make_person
from tests.factories import make_config, make_event, make_program, new_id, push
from tests.features.conftest import Alone, Installation
from tests.security.conftest import Attacker
from tests.settling import settle

pytestmark = pytest.mark.anyio


def config_with_secrets(**changes: Any) -> dict[str, Any]:
    return make_config(
        new_id(),
        externalSync={
            "type": "another-adapter",
            "url": "https://user:url-secret@registry.test/api?key=query-secret",
            "auth": {"token": "auth-secret"},
            "adapterConfig": {"clientSecret": "adapter-secret", "nested": [{"apiKey": "nested-secret"}]},
            "extraFields": [{"name": "password", "value": "extra-secret"}],
            "other": "other-secret",
        },
        authConfigs=[
            {
                "type": "auth0",
                "fields": {
                    "authority": "https://idp.test",
                    "client_secret": "client-secret",
                    "api_key": "api-secret",
                    "CLIENT_ID": "public-id",
                },
            }
        ],
        **changes,
    )


async def test_c1_c2_no_reader_but_an_administrator_sees_a_secret(admin: AsyncClient, client: AsyncClient) -> None:
    config = config_with_secrets()
    artifact = (await admin.post("/api/apps", json=config)).json()["artifactId"]
    role = {"tenantId": config["id"], "role": "system-admin"}
    person = await make_person(admin, tenantIds=[config["id"]], roleAssignments=[role])
    headers = bearer((await login(client, person))["token"])
    answers = [
        await client.get("/api/apps", headers=headers),
        await client.get(f"/api/apps/{config['id']}", headers=headers),
        await client.get(f"/api/apps/{config['id']}/public"),
        await client.get(f"/artifacts/{artifact}.json"),
        await client.patch(f"/api/apps/{config['id']}/syncScope", json={"syncScope": None}, headers=headers),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        leaked = re.findall(r"[a-z-]+-secret", answer.text)
        # `kept secret` is what a warning says; a value is what must not come.
        assert not leaked, (str(answer.request.url), leaked)
    assert "public-id" in answers[3].text


@pytest.mark.parametrize(
    ("url", "shown"),
    [("https://registry.test/?key=k", False), ("https://registry.test/a", True), ("https://[bad@", False)],
)
async def test_c1_a_key_in_the_address_of_a_registry_is_a_secret_too(attacker: Attacker, url: str, shown: bool) -> None:
    config = make_config(attacker.mine, externalSync={"type": "our-adapter", "url": url})
    assert (await attacker.admin.put(f"/api/apps/{attacker.mine}", json=config)).status_code == 200
    headers = await attacker.headers("viewer")
    read = (await attacker.client.get(f"/api/apps/{attacker.mine}", headers=headers)).json()
    assert read["externalSync"]["url"] == (url if shown else "********")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"url": "https://user:pass-word@sync.test"}, ["url"]),
        ({"syncServerUrl": "https://user:pass-word@sync.test"}, ["syncServerUrl"]),
        (
            {"authConfigs": [{"type": "auth0", "fields": {"authority": "https://user:pass-word@a.test"}}]},
            ["authConfigs"],
        ),
        ({"authConfigs": [{"type": "auth0", "fields": {"Issuer": " https://pass-word@a.test"}}]}, ["authConfigs"]),
    ],
)
async def test_c2_an_address_that_is_published_may_not_hold_a_password(
    admin: AsyncClient, change: dict[str, Any], place: list[Any]
) -> None:
    answer = await admin.post("/api/apps", json=make_config(new_id(), **change))
    assert answer.status_code == 400
    assert answer.json()["details"][0]["path"][:1] == place
    assert "pass-word" not in answer.text


async def test_c1_a_secret_cannot_be_sent_to_an_address_of_ones_own(admin: AsyncClient, client: AsyncClient) -> None:
    """Who may edit a config but not read its secrets points the section at a server of theirs and keeps the mask."""
    config = config_with_secrets()
    await admin.post("/api/apps", json=config)
    role = {"tenantId": config["id"], "role": "system-admin"}
    person = await make_person(admin, tenantIds=[config["id"]], roleAssignments=[role])
    headers = bearer((await login(client, person))["token"])
    shown = (await client.get(f"/api/apps/{config['id']}", headers=headers)).json()
    moved = shown | {"externalSync": shown["externalSync"] | {"url": "https://evil.test"}}
    assert (await client.put(f"/api/apps/{config['id']}", json=moved, headers=headers)).status_code == 400
    [provider] = shown["authConfigs"]
    elsewhere = provider | {"fields": provider["fields"] | {"authority": "https://evil.test"}}
    moved = shown | {"authConfigs": [elsewhere]}
    assert (await client.put(f"/api/apps/{config['id']}", json=moved, headers=headers)).status_code == 400
    # Two providers of one type, a mask under another name: nothing that is not the reader's comes back either.
    await client.put(f"/api/apps/{config['id']}", json=shown | {"name": "Renamed"}, headers=headers)
    kept = (await admin.get(f"/api/apps/{config['id']}")).json()
    assert kept["externalSync"]["adapterConfig"]["clientSecret"] == "adapter-secret"
    assert kept["authConfigs"][0]["fields"]["client_secret"] == "client-secret"


async def test_c1_the_mask_of_one_secret_is_not_another(admin: AsyncClient, client: AsyncClient) -> None:
    """A mask under a key that is shown to everybody must not be filled with what a hidden key holds."""
    config = config_with_secrets()
    await admin.post("/api/apps", json=config)
    role = {"tenantId": config["id"], "role": "system-admin"}
    person = await make_person(admin, tenantIds=[config["id"]], roleAssignments=[role])
    headers = bearer((await login(client, person))["token"])
    shown = (await client.get(f"/api/apps/{config['id']}", headers=headers)).json()
    [provider] = shown["authConfigs"]
    renamed = provider | {"fields": provider["fields"] | {"scope": "********", "audience": "********"}}
    for change in (
        {"authConfigs": [renamed]},
        {"externalSync": shown["externalSync"] | {"fieldMappings": "********"}},
        {"externalSync": shown["externalSync"] | {"type": "********"}},
        {"name": "********", "description": "********", "version": "********"},
    ):
        await client.put(f"/api/apps/{config['id']}", json=shown | change, headers=headers)
        after = await client.get(f"/api/apps/{config['id']}", headers=headers)
        assert not re.findall(r"[a-z-]+-secret", after.text), change


async def test_c3_c20_an_archived_program_shows_nothing_to_strangers(admin: AsyncClient, client: AsyncClient) -> None:
    config = make_config(new_id())
    artifact = (await admin.post("/api/apps", json=config)).json()["artifactId"]
    await admin.delete(f"/api/apps/{config['id']}")
    archived = await client.get(f"/api/apps/{config['id']}/public")
    unknown = await client.get(f"/api/apps/{new_id()}/public")
    assert archived.status_code == unknown.status_code == 404
    assert {k: v for k, v in archived.json().items() if k != "requestId"} == {
        k: v for k, v in unknown.json().items() if k != "requestId"
    }
    assert (await client.get(f"/artifacts/{artifact}.json")).status_code == 404


async def test_c3_an_artifact_id_cannot_be_guessed(admin: AsyncClient) -> None:
    ids = [(await admin.post("/api/apps", json=make_config(new_id()))).json()["artifactId"] for _ in range(5)]
    assert len(set(ids)) == 5
    # 120 bits of chance or more, and nothing of the program's own id.
    assert all(len(re.sub(r"[^0-9a-f]", "", one)) >= 30 for one in ids)


async def test_c9_c23_an_archived_program_takes_nothing_and_stays_archived(admin: AsyncClient) -> None:
    config = make_config(new_id())
    await admin.post("/api/apps", json=config)
    await admin.delete(f"/api/apps/{config['id']}")
    assert (await push(admin, config["id"], make_event())).status_code == 400
    await admin.put(f"/api/apps/{config['id']}", json=config)
    await admin.patch(f"/api/apps/{config['id']}/programs", json={"programs": []})
    assert (await push(admin, config["id"], make_event())).status_code == 400


async def test_c16_two_editors_do_not_undo_each_other_unseen(admin: AsyncClient) -> None:
    config = make_config(new_id())
    await admin.post("/api/apps", json=config)
    revision = (await admin.get(f"/api/apps/{config['id']}")).headers["ETag"]
    await admin.put(f"/api/apps/{config['id']}", json=config | {"name": "First"}, headers={"If-Match": revision})
    late = await admin.put(f"/api/apps/{config['id']}", json=config | {"name": "Late"}, headers={"If-Match": revision})
    assert late.status_code == 412


@pytest.mark.parametrize("role", [None, "viewer", "enumerator", "supervisor", "program-admin", "system-admin"])
async def test_c19_nobody_changes_another_program_and_only_its_manager_their_own(attacker: Attacker, role: Any) -> None:
    headers = await attacker.headers(role)
    allowed = role == "system-admin"
    for program, expected in ((attacker.theirs, False), (attacker.mine, allowed)):
        config = make_config(program)
        tried = {
            "PUT": await attacker.client.put(f"/api/apps/{program}", json=config, headers=headers),
            "PATCH": await attacker.client.patch(
                f"/api/apps/{program}/syncScope", json={"syncScope": None}, headers=headers
            ),
        }
        for method, answer in tried.items():
            assert answer.status_code == (200 if expected else 403), (program, method, answer.text)
        for method, path in (
            ("POST", "/api/apps"),
            ("DELETE", f"/api/apps/{program}"),
            ("POST", f"/api/apps/{program}/restore"),
        ):
            answer = await attacker.client.request(method, path, json=config, headers=headers)
            assert answer.status_code == 403, (method, path)


async def test_whoever_is_limited_to_an_area_cannot_lift_that_by_the_config(attacker: Attacker) -> None:
    """An identity provider of one's own in it, or a policy that no review is needed, holds for all areas."""
    seeds = [{"name": "individual", "data": [{"id": "s-1", "name": "Secret of B", "area_id": "B"}]}]
    path = f"/api/apps/{attacker.mine}"
    assert (
        await attacker.admin.post("/api/apps", json=make_config(attacker.mine, entityData=seeds))
    ).status_code == 200
    boundless = await attacker.client.get(path, headers=await attacker.headers("system-admin"))
    headers = await attacker.headers("system-admin", areaIds=["A"])
    shown = await attacker.client.get(path, headers=headers)
    assert shown.status_code == 200
    assert ("Secret of B" in boundless.text, "Secret of B" in shown.text) == (True, False)
    assert shown.headers["etag"] != boundless.headers["etag"]
    own = {"type": "keycloak", "fields": {"authority": "https://idp.evil.test", "default_role": "supervisor"}}
    for method, route, body in (
        ("PUT", path, make_config(attacker.mine, authConfigs=[own])),
        *(("PATCH", f"{path}/{key}", {key: None}) for key in ("syncScope", "programs", "claim169", "inji")),
        ("POST", f"{path}/artifact/rotate", {}),
        ("GET", f"{path}/versions", None),
        ("GET", f"{path}/versions/1", None),
        ("GET", f"{path}/versions/1/diff", None),
        ("POST", f"{path}/versions/1/restore", {}),
        ("PUT", f"/api/reviews/config/{attacker.mine}/update-individual", {"policy": "auto-approve"}),
    ):
        answer = await attacker.client.request(method, route, json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "BEYOND_REACH"), (method, route, answer.text)
    assert (await attacker.admin.get(path)).json()["authConfigs"] == []


async def test_c21_in_production_there_is_no_purge(installation: Installation) -> None:
    async with installation.running(NODE_ENV="production") as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        program = await make_program(admin)
        assert (await admin.delete(f"/api/apps/{program}")).status_code == 200
        assert (await admin.delete(f"/api/apps/{program}/purge")).status_code == 404
        assert (await admin.get(f"/api/apps/{program}")).status_code == 200


async def test_c21_one_request_does_not_delete_a_program(admin: AsyncClient) -> None:
    program = await make_program(admin)
    answer = await admin.delete(f"/api/apps/{program}/purge")
    assert (answer.status_code, answer.json()["code"]) == (409, "PROGRAM_NOT_ARCHIVED")
    assert (await admin.get(f"/api/apps/{program}")).status_code == 200


@pytest.mark.parametrize("id_", ["../x", "a/b", "a b", "<script>", "a%00b", "", "x" * 513, "é", ".", "a\nb"])
async def test_the_id_of_a_program_is_a_plain_word(admin: AsyncClient, id_: str) -> None:
    assert (await admin.post("/api/apps", json=make_config() | {"id": id_})).status_code == 400


async def test_the_longest_id_of_a_program_fits_everywhere(admin: AsyncClient) -> None:
    """Chance does not compress: a longer one once crashed the upload on PostgreSQL, whose keys have a largest size."""
    longest = secrets.token_hex(256)
    assert (await admin.post("/api/apps", json=make_config(longest, syncScope={"areaIds": ["A"]}))).status_code == 200
    event = make_event(entity="e" * 512, data={"name": "N", "area_id": "A"})
    pushed = await admin.post(
        "/api/sync/push", json={"events": [event], "configId": longest}, headers={"X-Device-Id": "d"}
    )
    assert pushed.status_code == 200, pushed.text
    pulled = await admin.get("/api/sync/pull", params={"configId": longest}, headers={"X-Device-Id": "d"})
    assert [one["guid"] for one in pulled.json()["events"]] == [event["guid"]]


async def test_the_longest_of_everything_fits_into_every_index(hub: Hub, admin: AsyncClient) -> None:
    """A group and its member, an area, names and what is searched for: each as long as it may be, in letters of four bytes
    where it may have them."""
    some = random.Random(7)
    form, field, area, value, name = [
        "".join(chr(some.randint(0x20000, 0x2A6D0)) for _ in range(n)) for n in (100, 100, 128, 600, 200)
    ]
    guids = ["".join(chr(some.randint(0x20000, 0x2A6D0)) for _ in range(128)) for _ in range(3)]
    components = [{"key": field, "type": "textfield", "searchable": True}]
    forms = [{"id": "f1", "name": form, "title": "Form", "formio": {"components": components}}]
    longest = make_config(some.randbytes(256).hex(), entityForms=forms, syncScope={"areaIds": [area]})
    assert (await admin.post("/api/apps", json=longest)).status_code == 200
    data = {"name": name, "entityName": form, "area_id": area, "parentId": guids[2], field: value}
    group = make_event("create-group", entity=guids[0], data={**data, "members": [{"guid": guids[1], **data}]})
    device = {"X-Device-Id": "d" * 64}
    for event in (group, make_event("update-group", entity=guids[0], data=data | {field: value[::-1]})):
        body = {"events": [event], "configId": longest["id"]}
        answer = await admin.post("/api/sync/push", json=body, headers=device)
        assert answer.status_code == 200, answer.text
    await settle(hub)
    found = await admin.get("/api/entities", params={"configId": longest["id"], "q": name[:40]})
    assert {one["guid"] for one in found.json()} == set(guids[:2])
    assert (await admin.delete(f"/api/entities/{guids[0]}", params={"configId": longest["id"]})).status_code != 500


async def test_c13_forms_that_contradict_each_other_are_refused(admin: AsyncClient) -> None:
    circle = [
        {"id": "a", "name": "a", "title": "A", "formio": {}, "dependsOn": "b"},
        {"id": "b", "name": "b", "title": "B", "formio": {}, "dependsOn": "a"},
    ]
    assert (await admin.post("/api/apps", json=make_config(new_id(), entityForms=circle))).status_code == 400


async def test_a_host_header_of_a_stranger_is_written_into_no_artifact(admin: AsyncClient, client: AsyncClient) -> None:
    config = make_config(new_id())
    artifact = (await admin.post("/api/apps", json=config, headers={"Host": "evil.test"})).json()["artifactId"]
    for headers in ({"Host": "evil.test"}, {"X-Forwarded-Host": "evil.test"}, {"Forwarded": "host=evil.test"}):
        answer = await client.get(f"/artifacts/{artifact}.json", headers=headers)
        assert "evil.test" not in answer.text
