"""Published configs: uploaded, downloaded, and uploaded again.

Unchanged means: the program as an administrator reads it is the same but for its revision and the time of its change,
and so is the onboarding file, byte for byte.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.features.tenants.accepting import accept
from tests.factories import make_config, pull_all

pytestmark = pytest.mark.anyio

CONFIGS = sorted((Path(__file__).parent / "configs").glob("*.json"))
EXAMPLES = sorted(path for path in (Path(__file__).parents[3] / "examples").glob("*.json") if "." not in path.stem)
BODIES = {path: path.read_bytes() for path in [*CONFIGS, *EXAMPLES]}
CHANGES = {"revision", "updatedAt", "seeding"}
SECRETS: dict[str, Any] = {
    "externalSync": {
        "type": "openspp-v2-adapter",
        "url": "https://spp.example",
        "auth": "basic",
        "adapterConfig": {"clientId": "c", "clientSecret": "hush-1"},
        "fieldMappings": [{"source": "a", "target": "b", "token": "hush-2"}],
        "more": {"key": "hush-3"},
    },
    "authConfigs": [
        {
            "type": "keycloak",
            "fields": {
                "authority": "https://idp.example",
                "client_secret": "hush-4",
                "client_id": "app",
                "default_role": "viewer",
            },
        }
    ],
}
SEEDS = [{"name": "individual", "data": [{"id": "p-1", "name": "Ana"}]}]


async def read(admin: AsyncClient, program: str) -> dict[str, Any]:
    answer = await admin.get(f"/api/apps/{program}")
    assert answer.status_code == 200
    document: dict[str, Any] = answer.json()
    return document


def unchanging(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in CHANGES}


async def uploaded(admin: AsyncClient, **changes: Any) -> tuple[str, str]:
    config = make_config(**changes)
    answer = await admin.post("/api/apps", json=config)
    assert answer.status_code == 200, answer.text
    return config["id"], answer.json()["artifactId"]


@pytest.mark.parametrize("path", [*CONFIGS, *EXAMPLES], ids=lambda path: path.stem)
async def test_a_published_config_comes_back_unchanged(admin: AsyncClient, client: AsyncClient, path: Path) -> None:
    body = BODIES[path]
    sent = json.loads(body)
    first = await admin.post("/api/apps", files={"config": (path.name, body, "application/json")})
    assert first.status_code == 200, first.text
    artifact = f"/artifacts/{first.json()['artifactId']}.json"
    before, file = await read(admin, sent["id"]), await client.get(artifact)
    admin.headers["X-Device-Id"] = "tablet-1"  # asked of callers whose scope is limited
    events = await pull_all(admin, sent["id"])
    assert before["name"] == sent["name"]
    assert file.status_code == 200

    for document in (before, file.json()):
        for again in (
            await admin.put(f"/api/apps/{sent['id']}", json=document),
            await admin.post("/api/apps", json=document),
        ):
            assert again.status_code == 200, again.text
            told = again.json().get("warnings", [])
            assert not [text for text in told if "there is no such key" in text or "is removed" in text]
            assert again.json()["artifactId"] == first.json()["artifactId"]
            assert unchanging(await read(admin, sent["id"])) == unchanging(before)
            now = await client.get(artifact)
            assert (now.content, now.headers["etag"]) == (file.content, file.headers["etag"])
    assert await pull_all(admin, sent["id"]) == events, "seeds are not seeded twice"


@pytest.mark.parametrize("path", [*CONFIGS, *EXAMPLES], ids=lambda path: path.stem)
def test_what_is_stored_of_a_published_config_is_what_was_sent(path: Path) -> None:
    """But for ids that were missing, keys that are unknown, and shapes of v1 that have another one in v2."""
    sent = json.loads(path.read_text())
    stored = accept(sent).document
    for key, value in stored.items():
        if key not in ("entityForms", "entityData", "externalSync"):
            assert value == sent[key]
    for form, was in zip(stored.get("entityForms", ()), sent.get("entityForms") or (), strict=True):
        assert form == {**{key: was[key] for key in form if key in was}, "id": was.get("id") or was["name"]}
    for group, was in zip(stored.get("entityData", ()), sent.get("entityData") or (), strict=True):
        assert all(set(before.items()) <= set(item.items()) for item, before in _flat(group["data"], was["data"]))


def _flat(stored: list[dict[str, Any]], sent: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    assert len(stored) == len(sent)
    texts = [{key: json.dumps(value) for key, value in item.items()} for item in stored]
    return [
        (item, {key: json.dumps(value) for key, value in before.items()})
        for item, before in zip(texts, sent, strict=True)
    ]


async def test_an_onboarding_file_keeps_what_it_cannot_have_and_says_so(
    admin: AsyncClient, client: AsyncClient
) -> None:
    program, artifact = await uploaded(admin, entityData=SEEDS, **SECRETS)
    before = await read(admin, program)
    file = (await client.get(f"/artifacts/{artifact}.json")).json()
    assert "hush" not in json.dumps(file)
    for answer in (
        await admin.put(f"/api/apps/{program}", json=file | {"description": "changed"}),
        await admin.post("/api/apps", json=file | {"description": "changed"}),
    ):
        assert answer.json()["warnings"] == [
            "externalSync: an onboarding file has no secrets; the stored values are kept: adapterConfig, fieldMappings, "
            "more, url",
            "authConfigs[0]: an onboarding file has no secrets; the stored values are kept: client_secret, default_role",
            "entityData: an onboarding file has no seeds; the stored ones are kept",
        ]
        assert unchanging(await read(admin, program)) == unchanging(before) | {"description": "changed"}


async def test_what_devices_get_can_be_removed_from_an_onboarding_file(admin: AsyncClient, client: AsyncClient) -> None:
    program, artifact = await uploaded(admin, **SECRETS)
    file = (await client.get(f"/artifacts/{artifact}.json")).json()
    del file["authConfigs"][0]["fields"]["client_id"]
    del file["externalSync"]["auth"]
    await admin.put(f"/api/apps/{program}", json=file)
    stored = await read(admin, program)
    assert "client_id" not in stored["authConfigs"][0]["fields"]
    assert stored["authConfigs"][0]["fields"]["client_secret"] == "hush-4"


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ({"externalSync": {"type": "openfn-adapter"}}, "externalSync.adapterConfig"),
        ({"externalSync": None}, "externalSync.adapterConfig"),
        (
            {"authConfigs": [{"type": "keycloak", "fields": {"authority": "https://other.example", "client_id": "a"}}]},
            "authConfigs[0].fields.client_secret",
        ),
        ({"authConfigs": []}, "authConfigs[0].fields.client_secret"),
    ],
)
async def test_secrets_do_not_follow_a_section_to_another_address(
    admin: AsyncClient, client: AsyncClient, change: dict[str, Any], lost: str
) -> None:
    program, artifact = await uploaded(admin, **SECRETS)
    file = (await client.get(f"/artifacts/{artifact}.json")).json()
    warnings = (await admin.put(f"/api/apps/{program}", json=file | change)).json()["warnings"]
    assert f"{lost}: is stored, and not in the upload: it is removed" in warnings
    [section] = change
    assert "hush" not in json.dumps((await read(admin, program))[section])


async def test_a_config_that_leaves_secrets_and_seeds_out_removes_them_and_says_so(admin: AsyncClient) -> None:
    program, _ = await uploaded(admin, entityData=SEEDS, **SECRETS)
    answer = await admin.put(f"/api/apps/{program}", json=make_config(program))
    assert answer.json()["warnings"] == [
        "entityData: the upload has no seeds; those stored are removed from the config",
        "externalSync.adapterConfig: is stored, and not in the upload: it is removed",
        "authConfigs[0].fields.client_secret: is stored, and not in the upload: it is removed",
    ]
    stored = await read(admin, program)
    assert (stored["externalSync"], stored["authConfigs"], stored["entityData"]) == (None, [], [])


async def test_the_hubs_own_address_does_not_become_the_programs(admin: AsyncClient, client: AsyncClient) -> None:
    program, artifact = await uploaded(admin)
    file = (await client.get(f"/artifacts/{artifact}.json")).json()
    assert file["syncServerUrl"] == "http://hub.test"
    answer = await admin.put(f"/api/apps/{program}", json=file)
    assert "warnings" not in answer.json()
    assert "syncServerUrl" not in await read(admin, program)


async def test_a_file_from_another_hub_brings_its_address_along_and_says_so(
    admin: AsyncClient, client: AsyncClient
) -> None:
    _, artifact = await uploaded(admin)
    file = (await client.get(f"/artifacts/{artifact}.json")).json()
    copy = make_config()["id"]
    answer = await admin.post("/api/apps", json=file | {"id": copy, "syncServerUrl": "https://old.example"})
    assert answer.json()["warnings"] == [
        "syncServerUrl: comes from the onboarding file: devices will sync there, and not at this hub"
    ]
    assert (await read(admin, copy))["syncServerUrl"] == "https://old.example"
    own = (await read(admin, copy)) | {"syncServerUrl": "https://new.example"}
    assert "warnings" not in (await admin.put(f"/api/apps/{copy}", json=own)).json()
