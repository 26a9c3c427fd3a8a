"""The files that bring a program onto a device."""

import io
import json
import re
from pathlib import Path

import pytest
import resvg_py
import zxingcpp
from httpx2 import AsyncClient
from PIL import Image

from datacollect.app import create_app
from datacollect.features.tenants.artifacts import File, Made, Picture, artifact_qr
from datacollect.http.hub import Hub
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, asgi_client, make_settings
from tests.factories import make_config, new_id

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[3] / "examples"


KINDS = ("json", "png", "svg")


def decoded(png: bytes) -> str:
    (code,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(png)))
    return str(code.text)


def rendered(svg: bytes) -> bytes:
    """As a PNG, wide enough for print."""
    return bytes(resvg_py.svg_to_bytes(svg_string=svg.decode(), width=600, background="white"))


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
    for kind in KINDS:
        path = f"/artifacts/{artifact_id}.{kind}"
        etag = (await client.get(path)).headers["etag"]
        again = await client.get(path, headers={"If-None-Match": f'"other", {etag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    stale = (await client.get(f"/artifacts/{artifact_id}.json")).headers["etag"]
    await admin.put(f"/api/apps/{program}", json=make_config(program, description="new"))
    fresh = await client.get(f"/artifacts/{artifact_id}.json", headers={"If-None-Match": stale})
    assert (fresh.status_code, fresh.json()["description"]) == (200, "new")


@pytest.mark.parametrize(("kind", "media_type"), [("png", "image/png"), ("svg", "image/svg+xml")])
async def test_the_qr_code_holds_the_address_of_the_file(
    admin: AsyncClient, client: AsyncClient, kind: str, media_type: str
) -> None:
    program, artifact_id = await uploaded(admin)
    answer = await client.get(f"/artifacts/{artifact_id}.{kind}")
    assert answer.headers["content-type"].partition(";")[0] == media_type
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["cache-control"] == "no-cache"
    address = decoded(answer.content if kind == "png" else rendered(answer.content))
    assert address == f"http://hub.test/artifacts/{artifact_id}.json"
    assert (await client.get(address)).json()["id"] == program


async def test_both_pictures_are_of_one_code(admin: AsyncClient, client: AsyncClient) -> None:
    _, artifact_id = await uploaded(admin)
    png, svg = [(await client.get(f"/artifacts/{artifact_id}.{kind}")).content for kind in ("png", "svg")]
    drawn = Image.open(io.BytesIO(png))
    assert b"<script" not in svg
    assert f'viewBox="0 0 {drawn.width} {drawn.height}"'.encode() in svg


async def test_a_file_can_be_asked_for_without_its_content(admin: AsyncClient, client: AsyncClient) -> None:
    _, artifact_id = await uploaded(admin)
    for kind in KINDS:
        path = f"/artifacts/{artifact_id}.{kind}"
        whole, head = await client.get(path), await client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("etag", "content-type", "content-length", "cache-control", "cross-origin-resource-policy"):
            assert head.headers[name] == whole.headers[name]
        again = await client.head(path, headers={"If-None-Match": head.headers["etag"]})
        assert again.status_code == 304
        assert (await client.head(f"/artifacts/{'0' * 32}.{kind}")).status_code == 404


async def test_a_printed_code_survives_everything_but_rotation(admin: AsyncClient, client: AsyncClient) -> None:
    program, artifact_id = await uploaded(admin)
    address = decoded((await client.get(f"/artifacts/{artifact_id}.png")).content)
    pictures = {kind: (await client.get(f"/artifacts/{artifact_id}.{kind}")).content for kind in ("png", "svg")}
    path = f"/api/apps/{program}"

    async def is_valid() -> bool:
        same = [(await client.get(f"/artifacts/{artifact_id}.{kind}")).content for kind in pictures]
        return same == list(pictures.values()) and (await client.get(address)).json()["id"] == program

    assert (await admin.post("/api/apps", json=make_config(program, name="Again"))).status_code == 200
    assert await is_valid()
    assert (await admin.put(path, json=make_config(program, name="Once more"))).status_code == 200
    assert await is_valid()
    assert (await admin.patch(f"{path}/programs", json={"programs": [{"id": 1, "name": "A"}]})).status_code == 200
    assert await is_valid()
    await admin.delete(path)
    for kind in KINDS:
        gone = await client.get(f"/artifacts/{artifact_id}.{kind}")
        assert (gone.status_code, gone.json()["error"]) == (404, "Config not found")
    await admin.post(f"{path}/restore")
    assert await is_valid()
    assert (await client.get(address)).json()["programs"] == [{"id": 1, "name": "A"}]
    assert (await admin.post(f"{path}/artifact/rotate")).status_code == 200
    for kind in KINDS:
        assert (await client.get(f"/artifacts/{artifact_id}.{kind}")).status_code == 404


async def test_rotation_gives_another_code_and_is_a_change(admin: AsyncClient, client: AsyncClient) -> None:
    program, artifact_id = await uploaded(admin)
    path = f"/api/apps/{program}"
    before = (await admin.get(path)).json()
    answer = await admin.post(f"{path}/artifact/rotate", headers={"If-Match": f'"{before["revision"]}"'})
    assert answer.status_code == 200
    fresh = answer.json()["artifactId"]
    assert answer.json() == {"status": "success", "artifactId": fresh}
    assert re.fullmatch(r"[0-9a-f]{32}", fresh)
    assert fresh != artifact_id
    after = (await admin.get(path)).json()
    assert (after["artifactId"], after["revision"]) == (fresh, before["revision"] + 1)
    assert answer.headers["etag"].startswith(f'"{after["revision"]}.')
    address = decoded((await client.get(f"/artifacts/{fresh}.png")).content)
    assert (await client.get(address)).json()["artifactId"] == fresh
    again = await admin.post(f"{path}/artifact/rotate")
    assert again.json()["artifactId"] not in (artifact_id, fresh)
    stale = await admin.post(f"{path}/artifact/rotate", headers={"If-Match": f'"{before["revision"]}"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "PROGRAM_CHANGED")
    assert (await admin.get(path)).json()["artifactId"] == again.json()["artifactId"]


async def test_what_cannot_be_rotated_is_told(admin: AsyncClient) -> None:
    unknown = await admin.post(f"/api/apps/{new_id()}/artifact/rotate")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "PROGRAM_NOT_FOUND")
    malformed = await admin.post("/api/apps/a%20b/artifact/rotate")
    assert (malformed.status_code, malformed.json()["code"]) == (400, "INVALID_CONFIG_ID")


async def test_a_file_is_made_once(admin: AsyncClient, client: AsyncClient, hub: Hub) -> None:
    """Of a known file only the program's state is read, in one statement that reads no content."""
    _, artifact_id = await uploaded(admin)
    for kind in KINDS:
        await client.get(f"/artifacts/{artifact_id}.{kind}")
        with hub.db.statements.record() as statements:
            await client.get(f"/artifacts/{artifact_id}.{kind}")
        [statement] = [text for text in statements if "programs" in text]
        assert "config" not in statement


def test_of_the_files_that_were_made_so_many_bytes_are_kept() -> None:
    made = Made(1000)
    for number in range(50):
        made.get(number, lambda: File(b"x" * 100, ""))
        made.get(0, lambda: File(b"first" * 20, ""))
    assert made.size_bytes <= 1000
    assert made.find(49) is not None
    assert made.find(0) is not None, "what is asked for again and again stays"
    assert made.find(30) is None
    made.get("large", lambda: File(b"x" * 600, ""))
    assert made.find("large") is None
    assert made.find(49) is not None


async def test_a_program_with_a_sync_server_of_its_own_says_so(admin: AsyncClient, client: AsyncClient) -> None:
    _, artifact_id = await uploaded(admin, syncServerUrl="https://north.example")
    document = (await client.get(f"/artifacts/{artifact_id}.json")).json()
    assert document["syncServerUrl"] == "https://north.example"


@pytest.mark.parametrize("name", ["0" * 32, "x", "..%2F..%2Fetc%2Fpasswd"])
async def test_an_unknown_file_is_404(client: AsyncClient, name: str) -> None:
    for kind in KINDS:
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
        for kind in KINDS:
            path = f"/artifacts/{saved.json()['artifactId']}.{kind}"
            refused = await client.get(path)
            assert (refused.status_code, refused.json()["code"]) == (500, "BASE_URL_UNKNOWN")
            assert (await client.get(path, headers={"Host": "localhost"})).status_code == 200


@pytest.mark.parametrize("picture", Picture)
def test_pictures_of_long_addresses_can_be_read(picture: Picture) -> None:
    base = "https://hub." + "very-long-name." * 6 + "example/base"
    body = artifact_qr("a" * 32, base, picture).body
    assert decoded(body if picture is Picture.PNG else rendered(body)) == f"{base}/artifacts/{'a' * 32}.json"


async def test_a_program_with_its_own_server_has_a_file_also_where_the_hub_has_no_address(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path, None, PUBLIC_BASE_URL=None))
    async with app.router.lifespan_context(app), asgi_client(app) as client:
        account = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        token = (await client.post("/api/users/login", json=account)).json()["token"]
        config = make_config(syncServerUrl="https://north.example")
        admin = {"Authorization": f"Bearer {token}"}
        artifact_id = (await client.post("/api/apps", json=config, headers=admin)).json()["artifactId"]
        file = await client.get(f"/artifacts/{artifact_id}.json")
        assert file.json()["syncServerUrl"] == "https://north.example"
        assert (await client.get(f"/artifacts/{artifact_id}.png")).status_code == 500
