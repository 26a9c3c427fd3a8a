"""A link opens one file for a short time, and nothing else."""

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from httpx2 import AsyncClient
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from datacollect.features.attachments.links import MOST_SECONDS, is_valid, link_path
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.clock import TurnableClock
from tests.accounts import assert_refused, bearer, login, make_person
from tests.attachments import ask, attach, make_entity
from tests.factories import make_program, pull_audit
from tests.features.conftest import Installation

pytestmark = pytest.mark.anyio

REFUSED = (403, "The link is not valid, or not any more.", "ATTACHMENT_LINK_INVALID")


async def link_of(client: AsyncClient, program: str, guid: str, **body: int) -> str:
    answer = await ask(client, program, f"/{guid}/link", "POST", json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["url"] == f"http://hub.test{told['path']}"
    return str(told["path"])


def changed(link: str, **parts: str) -> str:
    address = urlsplit(link)
    query = {name: values[0] for name, values in parse_qs(address.query).items()} | parts
    return f"{parts.pop('path', address.path)}?{urlencode({k: v for k, v in query.items() if k != 'path'})}"


async def test_a_link_opens_its_file_without_a_token(admin: AsyncClient, client: AsyncClient) -> None:
    program = await make_program(admin)
    entity = await make_entity(admin, program)
    stored, other = [await attach(admin, program, entity) for _ in range(2)]
    link = await link_of(admin, program, stored["guid"])
    whole = await client.get(link)
    assert whole.status_code == 200
    assert whole.content == (await ask(admin, program, f"/{stored['guid']}")).content
    assert whole.headers["content-disposition"].startswith("attachment")
    assert whole.headers["cross-origin-resource-policy"] == "cross-origin"
    assert whole.headers["cache-control"] == "private, no-store"
    assert (await client.get(link, headers={"Range": "bytes=0-3"})).content == whole.content[:4]

    elsewhere = await make_program(admin)
    expires = parse_qs(urlsplit(link).query)["expires"][0]
    for odd in (
        changed(link, signature="x" * 43),
        changed(link, signature=""),
        changed(link, signature="é"),
        changed(link, expires=str(int(expires) + 1)),
        changed(link, expires=""),
        changed(link, expires="9" * 30),
        changed(link, configId=elsewhere),
        changed(link, configId="nobody"),
        changed(link, path=f"/api/attachments/{other['guid']}/file"),
        urlsplit(link).path,
    ):
        assert_refused(await client.get(odd), *REFUSED)


async def test_looking_for_what_a_link_opens_reads_nothing_of_it(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    program = await make_program(admin)
    stored = await attach(admin, program, await make_entity(admin, program))
    link = await link_of(admin, program, stored["guid"])
    whole, looked = await client.get(link), await client.head(link)
    assert (looked.status_code, looked.content) == (200, b"")
    assert {k: v for k, v in looked.headers.items() if k != "x-request-id"} == {
        k: v for k, v in whole.headers.items() if k != "x-request-id"
    }
    # Of another content, but as long: nobody who reads it takes it for the file.
    scope = system_scope(TenantId(program))
    async with hub.db.reading(scope) as view:
        content = await hub.contents.find(view, scope, stored["hash"])
    path = hub.settings.attachments_folder / content.key(scope.tenant_id).path
    path.write_bytes(bytes(len(whole.content)))
    assert (await client.head(link)).status_code == 200
    path.unlink()
    assert (await client.head(link)).status_code == 500
    assert (await client.head(changed(link, signature="x" * 43))).status_code == 403


async def test_a_link_ends(admin: AsyncClient, client: AsyncClient, clock: TurnableClock) -> None:
    program = await make_program(admin)
    stored = await attach(admin, program, await make_entity(admin, program))
    link = await link_of(admin, program, stored["guid"], seconds=90)
    # The clock goes on by itself: a busy machine takes seconds for a request.
    clock.turn(seconds=60)
    assert (await client.get(link)).status_code == 200
    clock.turn(seconds=30)
    assert_refused(await client.get(link), *REFUSED)
    too_long = await ask(admin, program, f"/{stored['guid']}/link", "POST", json={"seconds": MOST_SECONDS + 1})
    assert too_long.status_code == 400


async def test_a_link_ends_with_its_file_and_rests_with_its_program(admin: AsyncClient, client: AsyncClient) -> None:
    program = await make_program(admin)
    entity = await make_entity(admin, program)
    stored = await attach(admin, program, entity)
    link = await link_of(admin, program, stored["guid"])
    await admin.delete(f"/api/apps/{program}")
    assert_refused(await client.get(link), *REFUSED)
    await admin.post(f"/api/apps/{program}/restore")
    assert (await client.get(link)).status_code == 200
    await ask(admin, program, f"/{stored['guid']}", "DELETE")
    assert_refused(await client.get(link), 404, "Attachment not found")


async def test_a_link_outlives_a_change_of_the_secret_and_needs_the_secret(installation: Installation) -> None:
    old, new = "an-old-secret-an-old-secret-an-old-secret", "a-new-secret-a-new-secret-a-new-secret-"
    async with installation.running(JWT_SECRET=old) as (_, client):
        answer = await client.post("/api/users/login", json={"email": "admin@hub.test", "password": "Correct-Horse-7"})
        client.headers.update(bearer(answer.json()["token"]))
        program = await make_program(client)
        stored = await attach(client, program, await make_entity(client, program))
        link = await link_of(client, program, stored["guid"])
    async with installation.running(JWT_SECRET=new, JWT_SECRET_PREVIOUS=old) as (_, client):
        assert (await client.get(link)).status_code == 200
    async with installation.running(JWT_SECRET=new) as (_, client):
        assert_refused(await client.get(link), *REFUSED)


async def test_no_log_tells_a_link(admin: AsyncClient, client: AsyncClient) -> None:
    program = await make_program(admin)
    stored = await attach(admin, program, await make_entity(admin, program))
    with capture_logs() as lines:
        link = await link_of(admin, program, stored["guid"])
        await client.get(link)
        await client.get(link + "x")
    signature = parse_qs(urlsplit(link).query)["signature"][0]
    assert lines and signature not in str(lines)


async def test_a_program_that_notes_reads_notes_links_and_downloads(admin: AsyncClient, client: AsyncClient) -> None:
    program = await make_program(admin, auditReads=True)
    entity = await make_entity(admin, program)
    stored = await attach(admin, program, entity)
    viewer = await make_person(admin, tenantIds=[program], roleAssignments=[{"tenantId": program, "role": "viewer"}])
    client.headers.update(bearer((await login(client, viewer))["token"]))
    await link_of(client, program, stored["guid"])
    await ask(client, program, f"/{stored['guid']}")
    await ask(client, program, f"/{stored['guid']}", headers={"Range": "bytes=0-"})
    entries = (await pull_audit(admin, program, limit=100)).json()
    reads = [(one["action"], one["actor"], one["entityGuid"]) for one in entries if "-attachment" in one["action"]]
    assert reads == [("link-attachment", str(viewer.id), entity), *[("read-attachment", str(viewer.id), entity)] * 2]


SECRETS = [b"secret" * 8]
TENANTS = st.text(min_size=1, max_size=8)


@given(TENANTS, TENANTS, TENANTS, TENANTS, st.integers(1, 10**12), st.integers(1, 10**12))
def test_no_link_is_good_for_anything_else(
    tenant: str, other_tenant: str, guid: str, other_guid: str, expires: int, other_expires: int
) -> None:
    path = link_path(SECRETS, TenantId(tenant), guid, Millis(expires))
    signature = parse_qs(urlsplit(path).query)["signature"][0]
    same = (tenant, guid, expires) == (other_tenant, other_guid, other_expires)
    valid = is_valid(
        SECRETS, TenantId(other_tenant), other_guid, Millis(other_expires), signature, now=Millis(other_expires - 1)
    )
    assert valid == same
    assert not is_valid([b"other" * 8], TenantId(tenant), guid, Millis(expires), signature, now=Millis(expires - 1))


@pytest.mark.parametrize(
    ("seconds", "is_good"), [(-1, False), (0, False), (1, True), (MOST_SECONDS, True), (MOST_SECONDS + 1, False)]
)
def test_a_link_is_good_for_no_longer_than_any_is_given_out_for(seconds: int, is_good: bool) -> None:
    now = Millis(1_800_000_000_000)
    expires = Millis(now + seconds * 1000)
    path = link_path(SECRETS, TenantId("p"), "g", expires)
    signature = parse_qs(urlsplit(path).query)["signature"][0]
    assert is_valid(SECRETS, TenantId("p"), "g", expires, signature, now=now) == is_good
