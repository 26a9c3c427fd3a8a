"""Uploads that are huge, deep or odd: a clear answer, never a 500, and nothing half done."""

from typing import Any

import pytest
from httpx2 import AsyncClient

from tests.factories import make_config, new_id, pull_all

pytestmark = pytest.mark.anyio


def form(name: str, **changes: Any) -> dict[str, Any]:
    return {"id": name, "name": name, "title": name, "formio": {"components": []}} | changes


async def refused(admin: AsyncClient, config: dict[str, Any]) -> dict[str, Any]:
    """The body of the 400, after nothing was stored."""
    answer = await admin.post("/api/apps", json=config)
    assert answer.status_code == 400, answer.text[:300]
    assert len(answer.content) < 50_000, "an answer stays readable"
    assert (await admin.get(f"/api/apps/{config['id']}")).status_code == 404
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize(
    "name",
    [
        "🏠 Haushalt 👩‍👩‍👧",
        "أسرة معيشية",
        "שלום \u202e hidden",
        "家族",
        "e\u0301",
        "0",
        "-1",
        "1e9",
        "'; DROP TABLE",
        "a" * 300,
    ],
)
async def test_names_in_any_script_are_kept_letter_by_letter(
    admin: AsyncClient, client: AsyncClient, name: str
) -> None:
    seeds = [{"name": name, "data": [{"id": f"{name}-1", "name": name}]}]
    config = make_config(name=name, entityForms=[form(name)], entityData=seeds)
    answer = await admin.post("/api/apps", json=config)
    assert answer.status_code == 200, answer.text
    stored = (await admin.get(f"/api/apps/{config['id']}")).json()
    assert (stored["name"], stored["entityForms"], stored["entityData"]) == (name, config["entityForms"], seeds)
    file = await client.get(f"/artifacts/{answer.json()['artifactId']}.json")
    assert file.json()["name"] == name
    [event] = await pull_all(admin, config["id"])
    assert (event["entityGuid"], event["data"]["entityName"]) == (f"{name}-1", name)


@pytest.mark.parametrize("length", [3_000, 100_000])
async def test_names_of_any_length_get_an_answer(admin: AsyncClient, length: int) -> None:
    name = "n" * length
    config = make_config(
        name=name, entityForms=[form(name)], entityData=[{"name": name, "data": [{"id": name, "name": name}]}]
    )
    answer = await admin.post("/api/apps", json=config)
    assert answer.status_code in (200, 400)
    assert answer.json().get("code") != "INTERNAL_ERROR"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (r'"a\u0000b"', "NUL_CHARACTER"),
        ('"a\x00b"', "NUL_CHARACTER"),
        (r'"\ud800"', "INVALID_JSON"),
        ("1e400", "NUMBER_OUT_OF_RANGE"),
        ("NaN", "INVALID_JSON"),
        ("7", "INVALID_CONFIG"),
        ("true", "INVALID_CONFIG"),
        ("[" * 64 + "]" * 64, "JSON_TOO_DEEP"),
        ("[" * 90_000 + "]" * 90_000, "JSON_TOO_DEEP"),
        ("[" * 100_000, "JSON_TOO_DENSE"),
        ('"x", "name": "twice"', "DUPLICATE_KEY"),
    ],
    ids=range(11),
)
async def test_what_is_no_name_is_told(admin: AsyncClient, text: str, code: str) -> None:
    config_id = new_id()
    body = f'{{"id": "{config_id}", "name": {text}}}'.encode()
    answer = await admin.post("/api/apps", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text
    assert (await admin.get(f"/api/apps/{config_id}")).status_code == 404


async def test_forms_without_end_are_refused(admin: AsyncClient) -> None:
    body = await refused(admin, make_config(entityForms=[form(f"f{i}") for i in range(20_000)]))
    assert (body["code"], body["error"]) == ("INVALID_CONFIG", "Invalid app config JSON")
    [issue] = body["details"]
    assert (issue["code"], issue["path"]) == ("too_long", ["entityForms"])


async def test_as_many_forms_as_there_may_be_are_stored(admin: AsyncClient) -> None:
    chain = [form("f0"), *(form(f"f{i}", dependsOn=f"f{i - 1}") for i in range(1, 2000))]
    assert (await admin.post("/api/apps", json=make_config(entityForms=chain))).status_code == 200
    chain[0]["dependsOn"] = "f1999"
    body = await refused(admin, make_config(entityForms=chain))
    [issue] = body["details"]
    assert issue["code"] == "circular_form"
    assert "f0 → f1999 → f1998" in issue["message"]


@pytest.mark.parametrize(
    "section",
    [
        {"entityForms": [0] * 1_000_000},
        {"entityData": [{"name": "x", "data": [0] * 1_000_000}]},
        {"entityData": [{"name": "x", "data": [{}] * 90_000}]},
        {"authConfigs": [{"type": "x", "fields": {str(i): 0 for i in range(100_000)}}]},
        {"customEventTypes": [0] * 1_000_000},
        {"programs": [{}] * 90_000},
        {"externalSync": {"extraFields": {str(i): "x" for i in range(100_000)}}},
        {"url": "http://[" * 90_000},
    ],
    ids=range(8),
)
async def test_wrong_entries_without_end_are_told_in_a_few(admin: AsyncClient, section: dict[str, Any]) -> None:
    assert (await refused(admin, make_config(**section)))["code"] == "INVALID_CONFIG"


async def test_unknown_keys_without_end_are_counted(admin: AsyncClient) -> None:
    answer = await admin.post("/api/apps", json=make_config(**{f"k{i}": 1 for i in range(100_000)}))
    assert answer.status_code == 200
    warnings = answer.json()["warnings"]
    assert (len(warnings), warnings[-1]) == (51, "config: 99950 more of this kind (unknown_key)")


async def test_a_config_of_ten_megabytes_is_stored_and_more_is_413(admin: AsyncClient, client: AsyncClient) -> None:
    config = make_config(
        entityForms=[form("f", formio={"components": [{"type": "content", "html": "x" * 10_000_000}]})]
    )
    answer = await admin.post("/api/apps", json=config)
    assert answer.status_code == 200
    file = await client.get(f"/artifacts/{answer.json()['artifactId']}.json")
    assert len(file.content) > 10_000_000
    config["entityForms"][0]["formio"]["components"][0]["html"] += "x" * 600_000
    assert (await admin.put(f"/api/apps/{config['id']}", json=config)).status_code == 413
