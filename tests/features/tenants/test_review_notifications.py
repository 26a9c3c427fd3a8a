"""Where a program wants to have reviews told: its secret is for administrators and the hub."""

from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.features.tenants.asked import ReviewNotifications, review_notifications
from datacollect.http.hub import Hub
from datacollect.kernel.ids import TenantId
from datacollect.kernel.sealing import CannotOpen, Key, Seals
from tests.accounts import bearer, login, make_person
from tests.factories import make_config

pytestmark = pytest.mark.anyio

MASK = "********"
SECTION = {"url": "https://system.test/news", "secret": "hush-hush-of-sixteen-letters"}


async def uploaded(admin: AsyncClient, **changes: Any) -> tuple[dict[str, Any], str]:
    config = make_config(reviewNotifications=SECTION, **changes)
    answer = await admin.post("/api/apps", json=config)
    assert answer.status_code == 200, answer.text
    return config, str(answer.json()["artifactId"])


async def test_the_hub_finds_the_address_and_the_secret(admin: AsyncClient, hub: Hub) -> None:
    config, _ = await uploaded(admin)
    found = TenantId(config["id"])
    async with hub.db.reading() as view:
        told = await review_notifications(view, found, seals=hub.seals)
        assert told == ReviewNotifications(SECTION["url"], SECTION["secret"])
        assert SECTION["secret"] not in repr(told)
        with pytest.raises(CannotOpen):
            await review_notifications(view, found, seals=Seals([Key("another-secret-of-32-characters!")]))
        assert await review_notifications(view, TenantId("nobody's"), seals=hub.seals) is None


async def test_devices_and_other_installations_do_not_get_it(admin: AsyncClient, client: AsyncClient) -> None:
    config, artifact = await uploaded(admin)
    for answer in (
        await client.get(f"/artifacts/{artifact}.json"),
        await client.get(f"/api/apps/{config['id']}/public"),
    ):
        assert answer.status_code == 200
        assert "reviewNotifications" not in answer.json()
        assert SECTION["secret"] not in answer.text


async def test_administrators_see_the_secret_and_members_a_mask(admin: AsyncClient, client: AsyncClient) -> None:
    config, _ = await uploaded(admin)
    shown = (await admin.get(f"/api/apps/{config['id']}")).json()
    assert shown["reviewNotifications"] == SECTION
    member = await login(client, await make_person(admin, tenantIds=[config["id"]]))
    seen = (await client.get(f"/api/apps/{config['id']}", headers=bearer(member["token"]))).json()
    assert seen["reviewNotifications"] == SECTION | {"secret": MASK}


async def test_a_mask_keeps_the_secret_for_the_same_address_only(admin: AsyncClient) -> None:
    config, _ = await uploaded(admin)
    masked = config | {"description": "changed", "reviewNotifications": SECTION | {"secret": MASK}}
    assert (await admin.put(f"/api/apps/{config['id']}", json=masked)).status_code == 200
    assert (await admin.get(f"/api/apps/{config['id']}")).json()["reviewNotifications"] == SECTION
    moved = masked | {"reviewNotifications": {"url": "https://elsewhere.test", "secret": MASK}}
    answer = await admin.put(f"/api/apps/{config['id']}", json=moved)
    assert answer.status_code == 400
    assert "masked_secret" in answer.text


async def test_an_onboarding_file_keeps_it_and_a_config_without_it_removes_it_and_says_so(
    admin: AsyncClient, client: AsyncClient
) -> None:
    config, artifact = await uploaded(admin)
    file = (await client.get(f"/artifacts/{artifact}.json")).json()
    answer = await admin.put(f"/api/apps/{config['id']}", json=file)
    assert any(warning.startswith("reviewNotifications: an onboarding file") for warning in answer.json()["warnings"])
    assert (await admin.get(f"/api/apps/{config['id']}")).json()["reviewNotifications"] == SECTION
    without = {key: value for key, value in config.items() if key != "reviewNotifications"}
    answer = await admin.put(f"/api/apps/{config['id']}", json=without)
    assert any(warning.startswith("reviewNotifications: is stored") for warning in answer.json()["warnings"])
    assert "reviewNotifications" not in (await admin.get(f"/api/apps/{config['id']}")).json()


@pytest.mark.parametrize(
    "section",
    [
        {"url": "system.test", "secret": "x" * 16},
        {"url": "https://user:pass@system.test", "secret": "x" * 16},
        {"url": "https://system.test"},
        {"url": "https://system.test", "secret": "short"},
    ],
)
async def test_a_section_that_cannot_work_is_refused(admin: AsyncClient, section: dict[str, str]) -> None:
    answer = await admin.post("/api/apps", json=make_config(reviewNotifications=section))
    assert answer.status_code == 400


async def test_versions_tell_that_the_secret_has_changed_and_not_what_it_is(admin: AsyncClient) -> None:
    config, _ = await uploaded(admin)
    other = config | {"reviewNotifications": SECTION | {"secret": "another-of-sixteen-letters"}}
    await admin.put(f"/api/apps/{config['id']}", json=other)
    answer = await admin.get(f"/api/apps/{config['id']}/versions/2/diff")
    assert answer.status_code == 200, answer.text
    assert "reviewNotifications" in answer.text
    assert "of-sixteen-letters" not in answer.text
