"""What was done to a program, what it was, and back."""

import asyncio
import json
import re
from typing import Any

import pytest
from httpx2 import AsyncClient, Response

from datacollect.db import EVERY_TENANT
from datacollect.features.tenants import service
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.accounts import bearer, login, make_person
from tests.conftest import ADMIN_EMAIL
from tests.factories import make_config, pull_all

pytestmark = pytest.mark.anyio

MASK = "********"
SEEDS = [{"name": "individual", "data": [{"id": "p-1", "name": "Ana"}, {"id": "p-2", "name": "Ben"}]}]
SECRETIVE = {
    "externalSync": {
        "type": "another-adapter",
        "url": "https://x.test",
        "adapterConfig": {"clientSecret": "CANARY-SYNC"},
    },
    "authConfigs": [{"type": "auth0", "fields": {"client_id": "app", "client_secret": "CANARY-AUTH"}}],
}


async def make(admin: AsyncClient, **changes: Any) -> tuple[str, dict[str, Any]]:
    """A new program's path and config."""
    config = make_config(**changes)
    assert (await admin.post("/api/apps", json=config)).status_code == 200
    return f"/api/apps/{config['id']}", config


async def manager_of(admin: AsyncClient, client: AsyncClient, path: str, role: str = "system-admin") -> dict[str, str]:
    program = path.rpartition("/")[2]
    person = await make_person(admin, tenantIds=[program], roleAssignments=[{"tenantId": program, "role": role}])
    return bearer((await login(client, person))["token"])


async def history(client: AsyncClient, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(f"{path}/versions", params=query)
    assert answer.status_code == 200, answer.text
    lines: list[dict[str, Any]] = answer.json()["versions"]
    return lines


def revision(answer: Response) -> int:
    """By the ETag."""
    found = re.fullmatch(r'"([0-9]+)\.[0-9a-f]+"', answer.headers["etag"])
    assert answer.status_code == 200 and found, answer.text
    return int(found[1])


async def test_every_change_answers_its_revision_and_is_in_the_history(admin: AsyncClient) -> None:
    config = make_config()
    path = f"/api/apps/{config['id']}"
    answers = [
        await admin.post("/api/apps", json=config),
        await admin.put(path, json=config | {"description": "x"}),
        await admin.patch(f"{path}/syncScope", json={"syncScope": {"areaIds": ["A"]}}),
        await admin.patch(f"{path}/programs", json={"programs": None}),
        await admin.patch(f"{path}/claim169", json={"claim169": None}),
        await admin.patch(f"{path}/inji", json={"inji": None}),
        await admin.delete(path),
        await admin.post(f"{path}/restore"),
        await admin.post(f"{path}/versions/1/restore"),
        await admin.post("/api/apps", json=config),
    ]
    assert [revision(answer) for answer in answers] == list(range(1, 11))
    assert revision(await admin.get(path)) == 10
    lines = await history(admin, path)
    assert [(line["revision"], line["action"]) for line in lines] == [
        (10, "replaced"),
        (9, "reverted"),
        (8, "restored"),
        (7, "archived"),
        (6, "section-changed"),
        (5, "section-changed"),
        (4, "section-changed"),
        (3, "section-changed"),
        (2, "replaced"),
        (1, "created"),
    ]
    assert lines[1]["fromRevision"] == 1
    assert [line["section"] for line in lines[4:8]] == ["inji", "claim169", "programs", "syncScope"]
    assert [line["archived"] for line in lines[2:4]] == [False, True]
    assert {line["by"]["label"] for line in lines} == {ADMIN_EMAIL}
    assert all(isinstance(line["by"]["id"], int) and line["at"].endswith("Z") for line in lines)


async def test_the_history_comes_in_pages(admin: AsyncClient) -> None:
    path, config = await make(admin)
    for _ in range(4):
        await admin.put(path, json=config)
    seen: list[int] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (await admin.get(f"{path}/versions", params=query)).json()
        seen += [line["revision"] for line in page["versions"]]
        if page["nextCursor"] is None:
            break
        query["cursor"] = page["nextCursor"]
    assert seen == [5, 4, 3, 2, 1]
    for odd in ({"limit": 0}, {"limit": 101}, {"limit": "x"}, {"cursor": "x"}, {"cursor": 9**30}):
        assert (await admin.get(f"{path}/versions", params=odd)).status_code == 400


async def test_a_version_is_read_as_the_program_was(admin: AsyncClient) -> None:
    path, config = await make(admin, entityData=SEEDS, **SECRETIVE)
    before = (await admin.get(path)).json()
    await admin.put(path, json={"id": config["id"], "name": "Bare"})
    await admin.delete(path)
    seeding = before.pop("seeding")
    assert seeding["finishedAt"] is not None
    assert (await admin.get(f"{path}/versions/1")).json() == before
    assert (await admin.get(f"{path}/versions/2")).json()["entityData"] == []
    assert (await admin.get(f"{path}/versions/3")).json()["archivedAt"] is not None


async def test_only_administrators_see_the_secrets_of_a_version(admin: AsyncClient, client: AsyncClient) -> None:
    path, config = await make(admin, entityData=SEEDS, **SECRETIVE)
    await admin.put(path, json=config | {"name": "Second"})
    headers = await manager_of(admin, client, path)
    assert "CANARY-SYNC" in (await admin.get(f"{path}/versions/1")).text
    shown = await client.get(f"{path}/versions/1", headers=headers)
    assert shown.json()["entityData"] == SEEDS and "CANARY" not in shown.text
    assert shown.json()["externalSync"]["adapterConfig"] == {"clientSecret": MASK}
    for way in ("", "/versions", "/versions/1", "/versions/1/diff", "/versions/2/diff?against=1"):
        assert "CANARY" not in (await client.get(f"{path}{way}", headers=headers)).text
    assert "CANARY" not in (await admin.get(f"{path}/versions/1/diff")).text
    enumerator = await manager_of(admin, client, path, "program-admin")
    for method, way in (("GET", ""), ("GET", "/1"), ("GET", "/1/diff"), ("POST", "/1/restore")):
        assert (await client.request(method, f"{path}/versions{way}", headers=enumerator)).status_code == 403
        assert (await client.request(method, f"{path}/versions{way}")).status_code == 401


async def test_a_diff_tells_what_a_version_changed(admin: AsyncClient) -> None:
    path, config = await make(admin, entityData=SEEDS, **SECRETIVE)
    changed = json.loads(json.dumps(config))
    changed["entityForms"].insert(0, {"id": "a", "name": "area", "title": "Area", "formio": {"components": []}})
    changed["externalSync"]["adapterConfig"]["clientSecret"] = "CANARY-NEW"
    changed["entityData"][0]["data"] = [{"id": "p-2", "name": "Bea"}, {"id": "p-3", "name": "Cy"}]
    await admin.put(path, json=changed)
    diff = (await admin.get(f"{path}/versions/2/diff")).json()
    assert (diff["revision"], diff["against"]) == (2, 1)
    assert diff["seedData"] == [{"form": "individual", "added": 1, "removed": 1, "changed": 1}]
    added, secret = diff["changes"]
    assert added["path"] == ["entityForms", {"name": "area"}] and added["text"] == "entityForms[area]"
    assert (added["kind"], added["index"], added["after"]) == ("added", 0, changed["entityForms"][0])
    assert "before" not in added
    assert (secret["text"], secret["before"], secret["after"]) == (
        "externalSync.adapterConfig.clientSecret",
        MASK,
        MASK,
    )
    back = (await admin.get(f"{path}/versions/1/diff", params={"against": 2})).json()
    assert [change["kind"] for change in back["changes"]] == ["removed", "changed"]
    same = (await admin.get(f"{path}/versions/2/diff", params={"against": 2})).json()
    assert (same["changes"], same["seedData"]) == ([], [])


async def test_the_first_version_is_compared_with_nothing(admin: AsyncClient) -> None:
    path, config = await make(admin, entityData=SEEDS)
    diff = (await admin.get(f"{path}/versions/1/diff")).json()
    assert diff["against"] is None and {change["kind"] for change in diff["changes"]} == {"added"}
    assert {change["text"] for change in diff["changes"]} == {"id", "name", "entityForms", "artifactId", "archived"}
    assert diff["seedData"] == [{"form": "individual", "added": 2, "removed": 0, "changed": 0}]
    assert "Ana" not in json.dumps(diff) and config["id"] in json.dumps(diff)


async def test_an_old_version_comes_back_as_a_new_revision(admin: AsyncClient, hub: Hub) -> None:
    path, config = await make(admin, entityData=SEEDS, **SECRETIVE)
    before = (await admin.get(path)).json()
    events = await pull_all(admin, config["id"])
    await admin.put(path, json={"id": config["id"], "name": "Bare", "syncScope": {"areaIds": ["A"]}})
    await admin.delete(path)
    answer = await admin.post(f"{path}/versions/1/restore")
    assert answer.json() == {
        "status": "success",
        "artifactId": before["artifactId"],
        "warnings": ["entityData: is stored but not seeded: POST the config to seed what is not there yet"],
    }
    after = (await admin.get(path)).json()
    moving = {"revision", "updatedAt", "archivedAt", "status"}
    assert {k: v for k, v in after.items() if k not in moving} == {k: v for k, v in before.items() if k not in moving}
    assert after["archivedAt"] is not None and after["revision"] == 4
    assert await hub.tenants.find(config["id"]) is None
    await admin.post(f"{path}/restore")
    assert await pull_all(admin, config["id"]) == events


async def test_restoring_a_scope_counts_at_once(admin: AsyncClient, hub: Hub) -> None:
    path, config = await make(admin, syncScope={"areaIds": ["A"]})
    await admin.patch(f"{path}/syncScope", json={"syncScope": None})
    assert (await hub.tenants.find(config["id"])).sync_scope is None  # type: ignore[union-attr]
    await admin.post(f"{path}/versions/1/restore")
    assert (await hub.tenants.find(config["id"])).sync_scope == {"areaIds": ["A"]}  # type: ignore[union-attr]


async def test_versions_of_no_program_and_no_versions_are_404(admin: AsyncClient) -> None:
    path, _ = await make(admin)
    for method, address, code in (
        ("GET", "/api/apps/nope/versions", "PROGRAM_NOT_FOUND"),
        ("GET", "/api/apps/nope/versions/1", "VERSION_NOT_FOUND"),
        ("GET", "/api/apps/nope/versions/1/diff", "VERSION_NOT_FOUND"),
        ("POST", "/api/apps/nope/versions/1/restore", "PROGRAM_NOT_FOUND"),
        ("GET", f"{path}/versions/2", "VERSION_NOT_FOUND"),
        ("GET", f"{path}/versions/2/diff", "VERSION_NOT_FOUND"),
        ("GET", f"{path}/versions/1/diff?against=2", "VERSION_NOT_FOUND"),
        ("POST", f"{path}/versions/2/restore", "VERSION_NOT_FOUND"),
    ):
        answer = await admin.request(method, address)
        assert (answer.status_code, answer.json()["code"]) == (404, code), address
    for odd in ("0", "x", "-1", str(9**30)):
        assert (await admin.get(f"{path}/versions/{odd}")).status_code == 400
    assert (await admin.get(path)).json()["revision"] == 1


async def test_a_program_has_only_its_own_versions(admin: AsyncClient, client: AsyncClient) -> None:
    mine, _ = await make(admin, description="mine")
    theirs, config = await make(admin, description="theirs")
    await admin.put(theirs, json=config)
    headers = await manager_of(admin, client, mine)
    assert (await client.get(f"{mine}/versions/1", headers=headers)).json()["description"] == "mine"
    assert (await client.get(f"{mine}/versions/2", headers=headers)).status_code == 404
    assert (await client.get(f"{theirs}/versions", headers=headers)).status_code == 403


# --- What is stored ------------------------------------------------------------------------------------------------


async def rows(hub: Hub, table: str, program: str) -> list[Any]:
    async with hub.db.reading(EVERY_TENANT) as view:
        return list(await view.fetch(f"SELECT * FROM {table} WHERE tenant_id = '{program}'"))


async def test_seeds_are_stored_once_however_often_the_config_is_replaced(admin: AsyncClient, hub: Hub) -> None:
    people = [{"id": f"p-{number}", "name": "x" * 1000} for number in range(1000)]
    path, config = await make(admin, entityData=[{"name": "individual", "data": people}])
    for number in range(10):
        await admin.put(path, json=config | {"description": str(number)})
    await admin.delete(path)
    await admin.patch(f"{path}/programs", json={"programs": [{"id": 1, "name": "Cash"}]})
    stored = await rows(hub, "program_contents", config["id"])
    assert len([row for row in stored if "p-999" in row[2]]) == 1
    # The config, the ten others, and the one with programs: archiving has the config of before.
    assert len(stored) == 1 + 1 + 10 + 1
    assert len(await rows(hub, "program_versions", config["id"])) == 13
    assert len((await admin.get(path)).json()["entityData"][0]["data"]) == 1000
    with hub.db.statements.record() as statements:
        await admin.put(path, json=config)
    # Seeds that are the program's already do not even travel to the database.
    assert [sql for sql in statements if "INTO program_contents" in sql and "VALUES" in sql] == []


async def test_small_edits_read_and_write_no_seeds(admin: AsyncClient, hub: Hub) -> None:
    path, config = await make(admin, entityData=SEEDS)
    artifact = (await admin.get(path)).json()["artifactId"]
    with hub.db.statements.record() as statements:
        await admin.patch(f"{path}/programs", json={"programs": None})
        await admin.get(f"{path}/public")
        await admin.get(f"/artifacts/{artifact}.json")
        await admin.delete(path)
        await admin.post(f"{path}/restore")
    reading = [sql for sql in statements if "SELECT" in sql and "body" in sql and "INSERT" not in sql]
    assert reading == [] and not [sql for sql in statements if "entity_data" in sql]
    assert config["id"]


async def test_a_change_that_fails_leaves_no_version(admin: AsyncClient) -> None:
    path, config = await make(admin)
    refused = [
        await admin.put(path, json=config | {"externalSync": {"type": MASK}}),
        await admin.put(path, json=config, headers={"If-Match": '"7"'}),
        await admin.put(path, json=config | {"name": ""}),
        await admin.post("/api/apps", json=config, headers={"If-None-Match": "*"}),
        await admin.post(f"{path}/versions/1/restore", headers={"If-Match": '"7"'}),
    ]
    assert [answer.status_code for answer in refused] == [400, 412, 400, 409, 412]
    assert [line["revision"] for line in await history(admin, path)] == [1]


# --- Preconditions -------------------------------------------------------------------------------------------------


async def test_a_change_from_an_old_revision_is_refused_everywhere(admin: AsyncClient) -> None:
    path, config = await make(admin)
    await admin.put(path, json=config)
    calls: list[tuple[str, str, Any]] = [
        ("POST", "/api/apps", config),
        ("PUT", path, config),
        ("PATCH", f"{path}/syncScope", {"syncScope": None}),
        ("PATCH", f"{path}/programs", {"programs": None}),
        ("PATCH", f"{path}/claim169", {"claim169": None}),
        ("PATCH", f"{path}/inji", {"inji": None}),
        ("DELETE", path, None),
        ("POST", f"{path}/restore", None),
        ("POST", f"{path}/versions/1/restore", None),
    ]
    now = 2
    for method, address, body in calls:
        late = await admin.request(method, address, json=body, headers={"If-Match": f'"{now - 1}"'})
        assert (late.status_code, late.json()["code"]) == (412, "PROGRAM_CHANGED"), address
        odd = await admin.request(method, address, json=body, headers={"If-Match": "latest"})
        assert (odd.status_code, odd.json()["code"]) == (400, "INVALID_IF_MATCH"), address
        right = await admin.request(method, address, json=body, headers={"If-Match": f'"77", W/"{now}"'})
        now += 1
        assert revision(right) == now, address
        anything = await admin.request(method, address, json=body, headers={"If-Match": "*"})
        now += 1
        assert revision(anything) == now, address


async def test_if_match_creates_nothing(admin: AsyncClient) -> None:
    config = make_config()
    for tag in ("*", '"1"', '"1", "2"'):
        answer = await admin.post("/api/apps", json=config, headers={"If-Match": tag})
        assert (answer.status_code, answer.json()["code"]) == (412, "PROGRAM_CHANGED")
        assert (await admin.get(f"/api/apps/{config['id']}")).status_code == 404


async def test_create_only_creates_and_never_replaces(admin: AsyncClient) -> None:
    config = make_config()
    only = {"If-None-Match": "*"}
    answers = await asyncio.gather(*(admin.post("/api/apps", json=config, headers=only) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    refused = next(answer for answer in answers if answer.status_code == 409).json()
    assert refused["code"] == "PROGRAM_EXISTS" and refused["error"] == refused["message"]
    await admin.delete(f"/api/apps/{config['id']}")
    assert (await admin.post("/api/apps", json=config, headers=only)).status_code == 409
    assert (await admin.get(f"/api/apps/{config['id']}")).json()["archivedAt"] is not None
    assert (await admin.post("/api/apps", json=config)).status_code == 200


async def test_a_program_that_is_known_is_not_sent_again(admin: AsyncClient, client: AsyncClient) -> None:
    path, config = await make(admin)
    answer = await admin.get(path)
    again = await admin.get(path, headers={"If-None-Match": f'"0", W/{answer.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    assert "Authorization" in answer.headers["vary"]
    await admin.put(path, json=config)
    assert (await admin.get(path, headers={"If-None-Match": answer.headers["etag"]})).status_code == 200
    assert (await client.get(path, headers={"If-None-Match": "*"})).status_code == 401


async def test_what_a_reader_was_not_shown_is_sent_once_they_may_see_it(
    admin: AsyncClient, client: AsyncClient
) -> None:
    """Of the same revision: an account that was given more would go on with what it had."""
    path, config = await make(admin, entityData=SEEDS, **SECRETIVE)
    program = path.rpartition("/")[2]
    assert (await admin.patch(f"{path}/programs", json={"programs": None})).status_code == 200
    person = await make_person(admin, tenantIds=[program])
    headers = bearer((await login(client, person))["token"])
    account = {"email": person.email, "role": "USER", "tenantIds": [program]}
    answer = await client.get(path, headers=headers)
    for role in ("viewer", "system-admin", "ADMIN"):
        given = {"roleAssignments": [{"tenantId": program, "role": role}]} if role != "ADMIN" else {"role": role}
        assert (await admin.put(f"/api/users/{person.id}", json=account | given)).status_code == 200
        known = headers | {"If-None-Match": answer.headers["etag"]}
        again = await client.get(path, headers=known)
        assert again.status_code == (304 if role == "viewer" else 200)
        partly = headers | {"If-Match": answer.headers["etag"]}
        answer = await client.get(path, headers=headers)
        assert (await client.get(path, headers=headers | {"If-None-Match": answer.headers["etag"]})).status_code == 304
        if role == "system-admin":
            # Nor is what was seen in part taken for the whole of it.
            assert (await client.put(path, json=config, headers=partly)).status_code == 412
            held = headers | {"If-Match": answer.headers["etag"]}
            assert (await client.patch(f"{path}/programs", json={"programs": None}, headers=held)).status_code == 200
            answer = await client.get(path, headers=headers)
    assert "CANARY-SYNC" in answer.text


async def test_of_two_hundred_replacements_at_once_one_wins_each_revision(admin: AsyncClient) -> None:
    path, config = await make(admin)
    for seen in (1, 2):
        headers = {"If-Match": f'"{seen}"'}
        answers = await asyncio.gather(
            *(admin.put(path, json=config | {"description": f"{n}"}, headers=headers) for n in range(200))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 199
        winner = next(index for index, answer in enumerate(answers) if answer.status_code == 200)
        assert revision(answers[winner]) == seen + 1
        assert (await admin.get(path)).json()["description"] == str(winner)
    assert [line["revision"] for line in await history(admin, path)] == [3, 2, 1]


async def test_editors_who_try_again_all_get_their_turn(admin: AsyncClient) -> None:
    path, config = await make(admin)
    losses: list[Response] = []

    async def edit(name: str) -> int:
        while True:
            seen = revision(await admin.get(path))
            answer = await admin.put(path, json=config | {"description": name}, headers={"If-Match": f'"{seen}"'})
            if answer.status_code == 200:
                assert revision(answer) == seen + 1
                return seen + 1
            losses.append(answer)

    made = await asyncio.gather(*(edit(f"editor {number}") for number in range(12)))
    assert sorted(made) == list(range(2, 14))
    assert losses and {answer.status_code for answer in losses} == {412}
    for number, its_revision in enumerate(made):
        past = (await admin.get(f"{path}/versions/{its_revision}")).json()
        assert past["description"] == f"editor {number}"


async def test_small_edits_at_once_undo_nothing_of_each_other(admin: AsyncClient) -> None:
    path, _ = await make(admin)
    sections: dict[str, Any] = {
        "syncScope": {"areaIds": ["A"]},
        "programs": [{"id": 1, "name": "Cash"}],
        "claim169": {"enabled": True, "trustedIssuers": []},
        "inji": {"enabled": True, "trustedIssuers": [], "credentialTemplates": []},
    }
    for round_ in range(5):
        answers = await asyncio.gather(
            *(admin.patch(f"{path}/{key}", json={key: value}) for key, value in sections.items()),
            admin.delete(path),
            admin.post(f"{path}/restore"),
        )
        assert sorted(map(revision, answers)) == list(range(2 + 10 * round_, 8 + 10 * round_))
        stored = (await admin.get(path)).json()
        assert {key: stored[key] for key in sections} == sections
        cleared = await asyncio.gather(*(admin.patch(f"{path}/{key}", json={key: None}) for key in sections))
        assert sorted(map(revision, cleared)) == list(range(8 + 10 * round_, 12 + 10 * round_))
        assert not sections.keys() & (await admin.get(path)).json().keys()


async def test_who_waited_for_others_does_not_set_the_time_back(admin: AsyncClient, hub: Hub) -> None:
    path, _ = await make(admin)
    before = (await admin.get(path)).json()["updatedAt"]
    scope = system_scope(TenantId(path.rpartition("/")[2]))
    async with hub.db.transaction(scope) as tx:
        await service.rotate_artifact(tx, scope, now=Millis(parse_timestamp(before) - 1000))
    after = (await admin.get(path)).json()
    assert (after["revision"], after["updatedAt"]) == (2, before)


async def test_without_a_precondition_the_history_is_complete_and_in_order(admin: AsyncClient) -> None:
    path, config = await make(admin)
    answers = await asyncio.gather(*(admin.put(path, json=config | {"description": f"{n}"}) for n in range(80)))
    made = [revision(answer) for answer in answers]
    assert sorted(made) == list(range(2, 82))
    lines = await history(admin, path, limit=40)
    lines += await history(admin, path, limit=40, cursor=lines[-1]["revision"])
    lines += await history(admin, path, limit=40, cursor=lines[-1]["revision"])
    assert [line["revision"] for line in lines] == list(range(81, 0, -1))
    assert [line["at"] for line in lines] == sorted((line["at"] for line in lines), reverse=True)
    for number in (0, 39, 79):
        assert (await admin.get(f"{path}/versions/{made[number]}")).json()["description"] == str(number)
