"""The files that bring a program onto a device."""

import io
import json
from pathlib import Path

import pytest
import zxingcpp
from httpx2 import AsyncClient
from PIL import Image

from datacollect.app import create_app
from datacollect.features.tenants.artifacts import Picture, artifact_qr
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, asgi_client, make_settings
from tests.factories import make_config

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[3] / "examples"


def decoded(png: bytes) -> str:
    (code,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(png)))
    return str(code.text)


async def uploaded(admin: AsyncClient, **changes: object) -> tuple[str, str]:
    """A new program's id and artifact id."""
    config = make_config(**changes)
    answer = await admin.post("/api/apps", json=config)
    return config["id"], answer.json()["artifactId"]


async def test_the_file_of_the_recorded_exchange(admin: AsyncClient, client: AsyncClient) -> None:
    config = json.loads((EXAMPLES / "household-registry.json").read_text())
    artifact_id = (await admin.post("/api/apps", json=config)).json()["artifactId"]
    answer = await client.get(f"/artifacts/{artifact_id}.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.json() == config | {
        "artifactId": artifact_id,
        "entityData": [],
        "externalSync": None,
        "authConfigs": [],
        "url": None,
        "syncServerUrl": "http://hub.test",
        "archivedAt": None,
    }


async def test_a_file_that_has_not_changed_is_304(admin: AsyncClient, client: AsyncClient) -> None:
    program, artifact_id = await uploaded(admin)
    for kind in ("json", "png"):
        path = f"/artifacts/{artifact_id}.{kind}"
        etag = (await client.get(path)).headers["etag"]
        again = await client.get(path, headers={"If-None-Match": f'"other", {etag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    stale = (await client.get(f"/artifacts/{artifact_id}.json")).headers["etag"]
    await admin.put(f"/api/apps/{program}", json=make_config(program, description="new"))
    fresh = await client.get(f"/artifacts/{artifact_id}.json", headers={"If-None-Match": stale})
    assert (fresh.status_code, fresh.json()["description"]) == (200, "new")


async def test_the_qr_code_holds_the_address_of_the_file(admin: AsyncClient, client: AsyncClient) -> None:
    _, artifact_id = await uploaded(admin)
    answer = await client.get(f"/artifacts/{artifact_id}.png")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert decoded(answer.content) == f"http://hub.test/artifacts/{artifact_id}.json"


async def test_a_printed_code_survives_replacing_archiving_and_restoring(
    admin: AsyncClient, client: AsyncClient
) -> None:
    program, artifact_id = await uploaded(admin)
    printed = (await client.get(f"/artifacts/{artifact_id}.png")).content
    await admin.post("/api/apps", json=make_config(program, name="Again"))
    await admin.put(f"/api/apps/{program}", json=make_config(program, name="Once more"))
    await admin.delete(f"/api/apps/{program}")
    for kind in ("json", "png"):
        gone = await client.get(f"/artifacts/{artifact_id}.{kind}")
        assert (gone.status_code, gone.json()["error"]) == (404, "Config not found")
    await admin.post(f"/api/apps/{program}/restore")
    assert (await client.get(f"/artifacts/{artifact_id}.png")).content == printed
    assert (await client.get(decoded(printed))).json()["name"] == "Once more"


async def test_a_program_with_a_sync_server_of_its_own_says_so(admin: AsyncClient, client: AsyncClient) -> None:
    _, artifact_id = await uploaded(admin, syncServerUrl="https://north.example")
    document = (await client.get(f"/artifacts/{artifact_id}.json")).json()
    assert document["syncServerUrl"] == "https://north.example"


@pytest.mark.parametrize("name", ["0" * 32, "x", "..%2F..%2Fetc%2Fpasswd"])
async def test_an_unknown_file_is_404(client: AsyncClient, name: str) -> None:
    for kind in ("json", "png"):
        answer = await client.get(f"/artifacts/{name}.{kind}")
        assert answer.status_code == 404
        assert answer.json()["error"] == answer.json()["message"]


async def test_without_a_base_url_a_program_is_saved_with_a_warning(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path, None, PUBLIC_BASE_URL=None))
    async with app.router.lifespan_context(app), asgi_client(app) as client:
        account = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        token = (await client.post("/api/users/login", json=account)).json()["token"]
        client.headers["Authorization"] = f"Bearer {token}"
        config = make_config()
        saved = await client.post("/api/apps", json=config)
        assert saved.status_code == 200
        (warning,) = saved.json()["warnings"]
        assert warning.startswith("Program saved, but public artifact generation failed: Set PUBLIC_BASE_URL")
        patched = await client.patch(f"/api/apps/{config['id']}/inji", json={"inji": None})
        assert (patched.status_code, patched.json()["warnings"]) == (200, [warning])
        for kind in ("json", "png"):
            path = f"/artifacts/{saved.json()['artifactId']}.{kind}"
            refused = await client.get(path)
            assert (refused.status_code, refused.json()["code"]) == (500, "BASE_URL_UNKNOWN")
            assert (await client.get(path, headers={"Host": "localhost"})).status_code == 200


def test_long_addresses_still_fit_into_a_code_a_phone_reads() -> None:
    base = "https://hub." + "very-long-name." * 6 + "example/base"
    assert decoded(artifact_qr("a" * 32, base, Picture.PNG).body) == f"{base}/artifacts/{'a' * 32}.json"
