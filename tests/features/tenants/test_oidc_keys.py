"""The key by which the hub redeems citizens' sign-ins: for administrators and the hub."""

import json
from typing import Any

import pytest
from httpx2 import AsyncClient
from joserfc.jwk import ECKey, RSAKey
from sqlalchemy import select, update

from datacollect.db import EVERY_TENANT
from datacollect.features.tenants.tables import program_versions, programs
from datacollect.http.hub import Hub
from datacollect.kernel.client_assertions import ClientKey, UnusableKey, client_assertion, read_client_key
from datacollect.kernel.clock import Millis
from datacollect.kernel.sealing import Key, Seals
from tests.accounts import bearer, login, make_person
from tests.factories import make_config

pytestmark = pytest.mark.anyio

MASK = "********"
KEY, OTHER = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
PEM, OTHER_PEM = (key.as_pem(private=True).decode() for key in (KEY, OTHER))
SECRET_LINE = PEM.splitlines()[3]
PATH = "selfService.oidcConfig.privateKey"


def self_service(**changes: Any) -> dict[str, Any]:
    return {
        "enabled": True,
        "authMethods": ["oidc"],
        "allowedForms": [],
        "requireReview": True,
        "oidcConfig": {
            "authority": "https://esignet.test",
            "clientId": "citizens",
            "redirectUri": "https://app.test/callback",
            "scope": "openid",
            "entityMapping": {"primaryClaim": "sub", "entityField": "nid"},
            "privateKey": PEM,
            "userinfo": True,
        }
        | changes,
    }


async def uploaded(admin: AsyncClient, **changes: Any) -> tuple[dict[str, Any], str]:
    config = make_config(selfService=self_service(**changes))
    answer = await admin.post("/api/apps", json=config)
    assert answer.status_code == 200, answer.text
    return config, str(answer.json()["artifactId"])


async def stored_key(admin: AsyncClient, program: str) -> Any:
    return (await admin.get(f"/api/apps/{program}")).json()["selfService"]["oidcConfig"].get("privateKey")


async def test_the_database_has_it_sealed(admin: AsyncClient, hub: Hub) -> None:
    config, _ = await uploaded(admin)
    async with hub.db.reading(EVERY_TENANT) as view:
        for table, key in ((programs, programs.c.id), (program_versions, program_versions.c.tenant_id)):
            rows = (await view.execute(select(table).where(key == config["id"]))).all()
            assert rows
            assert not any(word in repr(row) for row in rows for word in (SECRET_LINE, "PRIVATE KEY"))


async def test_devices_login_screens_and_other_installations_do_not_get_it(
    admin: AsyncClient, client: AsyncClient
) -> None:
    config, artifact = await uploaded(admin)
    for answer in (
        await client.get(f"/artifacts/{artifact}.json"),
        await client.get(f"/api/apps/{config['id']}/public"),
        await admin.get("/api/apps"),
    ):
        assert answer.status_code == 200
        assert "privateKey" not in answer.text and SECRET_LINE not in answer.text


async def test_administrators_see_the_key_and_members_a_mask(admin: AsyncClient, client: AsyncClient) -> None:
    config, _ = await uploaded(admin)
    assert await stored_key(admin, config["id"]) == PEM
    member = await login(client, await make_person(admin, tenantIds=[config["id"]]))
    seen = await client.get(f"/api/apps/{config['id']}", headers=bearer(member["token"]))
    assert seen.json()["selfService"]["oidcConfig"] == self_service(privateKey=MASK)["oidcConfig"]
    assert SECRET_LINE not in seen.text


async def test_a_mask_keeps_the_key_for_the_same_client_at_the_same_provider_only(admin: AsyncClient) -> None:
    config, _ = await uploaded(admin)
    path = f"/api/apps/{config['id']}"
    masked = config | {"description": "changed", "selfService": self_service(privateKey=MASK, scope="openid profile")}
    assert (await admin.put(path, json=masked)).status_code == 200
    assert await stored_key(admin, config["id"]) == PEM
    for change in ({"authority": "https://elsewhere.test"}, {"clientId": "another"}):
        answer = await admin.put(path, json=masked | {"selfService": self_service(privateKey=MASK, **change)})
        assert answer.status_code == 400
        assert [(issue["code"], ".".join(issue["path"])) for issue in answer.json()["details"]] == [
            ("masked_secret", PATH)
        ]
    answer = await admin.post("/api/apps", json=make_config(selfService=self_service(privateKey=MASK)))
    assert answer.status_code == 400 and "masked_secret" in answer.text


async def test_an_onboarding_file_keeps_it_and_a_config_without_it_removes_it_and_says_so(
    admin: AsyncClient, client: AsyncClient
) -> None:
    config, artifact = await uploaded(admin)
    path = f"/api/apps/{config['id']}"
    file = (await client.get(f"/artifacts/{artifact}.json")).json()
    answer = await admin.put(path, json=file)
    assert any(warning.startswith(f"{PATH}: an onboarding file") for warning in answer.json()["warnings"])
    assert await stored_key(admin, config["id"]) == PEM
    section = self_service()
    del section["oidcConfig"]["privateKey"]
    answer = await admin.put(path, json=config | {"selfService": section})
    assert any(warning.startswith(f"{PATH}: is stored") for warning in answer.json()["warnings"])
    assert await stored_key(admin, config["id"]) is None


async def test_an_onboarding_file_for_another_client_keeps_nothing(admin: AsyncClient, client: AsyncClient) -> None:
    config, artifact = await uploaded(admin)
    file = (await client.get(f"/artifacts/{artifact}.json")).json()
    file["selfService"]["oidcConfig"]["authority"] = "https://elsewhere.test"
    answer = await admin.put(f"/api/apps/{config['id']}", json=file)
    assert any(warning.startswith(f"{PATH}: is stored") for warning in answer.json()["warnings"])
    assert await stored_key(admin, config["id"]) is None


async def test_versions_tell_that_the_key_has_changed_and_not_what_it_is(admin: AsyncClient) -> None:
    config, _ = await uploaded(admin)
    path = f"/api/apps/{config['id']}"
    assert (await admin.put(path, json=config | {"selfService": self_service(privateKey=OTHER_PEM)})).status_code == 200
    answer = await admin.get(f"{path}/versions/2/diff")
    assert [change["text"] for change in answer.json()["changes"]] == [PATH]
    assert SECRET_LINE not in answer.text and "PRIVATE KEY" not in answer.text
    assert (await admin.post(f"{path}/versions/1/restore")).status_code == 200
    assert await stored_key(admin, config["id"]) == PEM


async def test_a_key_that_nothing_opens_is_masked_for_everybody(admin: AsyncClient, hub: Hub) -> None:
    config, _ = await uploaded(admin)
    sealed = Seals([Key("another-secret-of-32-characters!")]).seal("[]", f"{config['id']}/config")
    async with hub.db.transaction(EVERY_TENANT) as tx:
        await tx.execute(update(programs).where(programs.c.id == config["id"]).values(config_secrets=sealed))
    shown = (await admin.get(f"/api/apps/{config['id']}")).json()
    assert shown["selfService"]["oidcConfig"]["privateKey"] == MASK
    refused = await admin.put(f"/api/apps/{config['id']}", json=shown)
    assert refused.status_code == 400
    assert [".".join(issue["path"]) for issue in refused.json()["details"]] == [PATH]


UNUSABLE = [
    "secret",
    KEY.as_pem(private=False).decode(),
    ECKey.generate_key("P-256").as_pem(private=True).decode(),
    KEY.as_bytes("PEM", True, "password").decode(),
    PEM.replace(SECRET_LINE, SECRET_LINE[::-1]),
    PEM[:400],
    "{",
    "{}",
    "[]",
    '{"kty": ["RSA"]}',
    json.dumps(KEY.as_dict(private=False)),
    json.dumps(ECKey.generate_key("P-256").as_dict(private=True)),
    json.dumps(KEY.as_dict(private=True) | {"p": OTHER.as_dict(private=True)["p"]}),
    json.dumps(KEY.as_dict(private=True) | {"d": 7}),
    json.dumps(KEY.as_dict(private=True) | {"kid": 7}),
]


@pytest.mark.parametrize("key", UNUSABLE, ids=range(len(UNUSABLE)))
async def test_a_key_that_cannot_be_used_is_refused_and_not_repeated(admin: AsyncClient, key: str) -> None:
    answer = await admin.post("/api/apps", json=make_config(selfService=self_service(privateKey=key)))
    assert answer.status_code == 400
    [issue] = answer.json()["details"]
    assert (issue["code"], ".".join(issue["path"])) == ("invalid_string", PATH)
    assert len(key) < 10 or key[5:40] not in answer.text


@pytest.mark.parametrize("key", ["", "x" * 8193, 7, ["PEM"]])
async def test_what_is_no_text_of_some_length_is_no_key(admin: AsyncClient, key: Any) -> None:
    answer = await admin.post("/api/apps", json=make_config(selfService=self_service(privateKey=key)))
    assert answer.status_code == 400


def test_weak_keys_are_refused() -> None:
    with pytest.warns(match="2048"):
        weak = RSAKey.generate_key(1024).as_pem(private=True).decode()
    with pytest.raises(UnusableKey, match="2048 to 4096"):
        read_client_key(weak)


@pytest.mark.parametrize("text", [PEM, json.dumps(KEY.as_dict(private=True))])
@pytest.mark.parametrize("is_checked", [True, False])
def test_a_key_is_read_from_pem_and_from_a_jwk(text: str, is_checked: bool) -> None:
    read = read_client_key(text, is_checked=is_checked)
    assert read.key.as_pem(private=True) == KEY.as_pem(private=True)
    assert repr(read) == "ClientKey(key_id=None)"


def test_no_two_assertions_are_alike() -> None:
    key = ClientKey(KEY, "k")
    made = {client_assertion(key, "citizens", audience="https://x.test/token", now=Millis(0)) for _ in range(10)}
    assert len(made) == 10
