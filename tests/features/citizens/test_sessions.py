"""What a citizen's token opens, and what ends it."""

from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient, Response

from datacollect.app import create_app
from datacollect.http.hub import Hub
from datacollect.kernel.tenancy import SignIn
from tests.accounts import assert_refused, bearer, claims_of
from tests.citizens import change_citizen, make_citizen, make_open_program, self_service, token_of
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, asgi_client, make_settings
from tests.factories import make_config, make_event, push
from tests.features.conftest import Alone

pytestmark = pytest.mark.anyio

LOGOUT = "/api/auth/self-service/logout"
NOT_OWN = "Forbidden: cannot access other entities"
DISABLED = (403, "Self-service is not enabled for this tenant", "SELF_SERVICE_DISABLED")


async def opens(client: AsyncClient, token: str | None, **more: Any) -> Response:
    """The answer to what a citizen may ask for. Whoever is let in is signed out."""
    headers = {} if token is None else bearer(token)
    return await client.post(LOGOUT, headers=headers, **more)


async def signed_in(admin: AsyncClient, hub: Hub, **data: Any) -> tuple[str, str, str]:
    """Program, record and token of somebody with a phone."""
    program = await make_open_program(admin)
    guid = await make_citizen(admin, program, phone="+1555", **data)
    return program, guid, await token_of(hub, program, guid, phone="+1555")


async def save(admin: AsyncClient, program: str, **changes: Any) -> None:
    answer = await admin.put(f"/api/apps/{program}", json=make_config(program, **changes))
    assert answer.status_code == 200, answer.text


async def test_a_token_opens_until_its_owner_signs_out(admin: AsyncClient, client: AsyncClient, hub: Hub) -> None:
    program, guid, token = await signed_in(admin, hub)
    other = await token_of(hub, program, guid, phone="+1555")
    claims = claims_of(token)
    assert {name: claims[name] for name in ("scope", "identifier", "entityGuid", "tenantId")} == {
        "scope": "self-service",
        "identifier": "+1555",
        "entityGuid": guid,
        "tenantId": program,
    }
    assert (await opens(client, token)).json() == {"status": "success", "message": "Signed out"}
    assert_refused(await opens(client, token), 401, "Invalid token", "UNAUTHENTICATED")
    assert (await opens(client, other)).status_code == 200, "the other sign-in goes on"


async def test_a_token_opens_for_an_hour(alone: Alone) -> None:
    _, _, token = await signed_in(await alone.admin(), alone.hub)
    # The clock goes on by itself: a busy machine takes seconds for a request.
    alone.clock.turn(seconds=3_540)
    async with asgi_client(alone.app) as client:
        assert_refused(await opens(client, token, params={"entityGuid": "another"}), 403, NOT_OWN, "NOT_OWN_RECORD")
        alone.clock.turn(seconds=61)
        assert_refused(await opens(client, token), 401, "Invalid token")


async def test_without_a_token_of_ours_nobody_is_let_in(admin: AsyncClient, client: AsyncClient, hub: Hub) -> None:
    _, _, token = await signed_in(admin, hub)
    for bad in (None, "", "abc", token + "x", token.rpartition(".")[0] + "."):
        assert_refused(await opens(client, bad), 401, "Invalid token", "UNAUTHENTICATED")
    basic = await client.post(LOGOUT, headers={"Authorization": f"Basic {token}"})
    assert_refused(basic, 401, "Invalid token", "UNAUTHENTICATED")


async def test_a_staff_token_is_not_a_citizens(admin: AsyncClient, admin_token: str) -> None:
    refused = await admin.post(LOGOUT)
    assert_refused(refused, 403, "Forbidden: self-service scope required", "SELF_SERVICE_ONLY")


async def test_a_request_that_names_another_record_is_refused(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    _, guid, token = await signed_in(admin, hub)
    for more in (
        {"params": {"entityGuid": "another"}},
        {"params": [("entityGuid", guid), ("entityGuid", "another")]},
        {"json": {"entityGuid": "another"}},
        {"json": {"entityGuid": None}},
        {"json": {"entityGuid": [guid]}},
    ):
        assert_refused(await opens(client, token, **more), 403, NOT_OWN, "NOT_OWN_RECORD")
    assert (await opens(client, token, params={"entityGuid": guid}, json={"entityGuid": guid})).status_code == 200


async def test_a_token_ends_when_the_record_says_something_else(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    """R12: a phone number that goes to somebody else takes nobody's record with it."""
    program, guid, token = await signed_in(admin, hub)
    await change_citizen(admin, program, guid, name="Another name")
    kept = await token_of(hub, program, guid, phone="+1555")
    assert (await opens(client, kept)).status_code == 200
    await change_citizen(admin, program, guid, phone="+1556")
    assert_refused(await opens(client, token), 401, "Invalid token")


async def test_a_token_ends_with_the_record(admin: AsyncClient, client: AsyncClient, hub: Hub) -> None:
    program, guid, token = await signed_in(admin, hub)
    assert (
        await push(admin, program, make_event("delete-entity", entity=guid, data={"reason": "gone"}))
    ).status_code == 200
    assert_refused(await opens(client, token), 401, "Invalid token")


async def test_a_token_stops_while_the_program_does_not_let_citizens_in(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    program, _, token = await signed_in(admin, hub)
    for section in (
        {"selfService": self_service("otp", enabled=False)},
        {"selfService": self_service("id", "oidc")},
        {},
    ):
        await save(admin, program, **section)
        assert_refused(await opens(client, token), *DISABLED)
    await save(admin, program, selfService=self_service("otp"))
    assert (await opens(client, token)).status_code == 200


async def test_a_token_stops_with_an_archived_program(admin: AsyncClient, client: AsyncClient, hub: Hub) -> None:
    program, _, token = await signed_in(admin, hub)
    assert (await admin.delete(f"/api/apps/{program}")).status_code == 200
    assert_refused(await opens(client, token), *DISABLED)


async def test_a_sign_in_counts_for_its_own_record_and_program_only(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    """Whoever could sign tokens still needs a sign-in in the database that says the same."""
    program, _, token = await signed_in(admin, hub)
    neighbour = await make_citizen(admin, program, phone="+1557")
    other_program = await make_open_program(admin)
    claims = claims_of(token)
    for changes in ({"entityGuid": neighbour}, {"tenantId": other_program}, {"jti": "another"}, {"typ": "access"}):
        forged = hub.tokens._sign(claims | changes, hub.clock.now(), 3600)
        assert_refused(await opens(client, forged), 401, "Invalid token")
    assert (await opens(client, hub.tokens._sign(claims, hub.clock.now(), 3600))).status_code == 200


async def test_a_national_id_in_the_list_of_identifiers_is_looked_at_there(
    admin: AsyncClient, client: AsyncClient, hub: Hub
) -> None:
    program = await make_open_program(admin)
    listed = [{"type": "tax", "value": "N-1"}, {"type": "national-id", "value": "N-2"}]
    guid = await make_citizen(admin, program, identifiers=listed, dateOfBirth="1990-04-02")
    for national_id, status in (("N-1", 401), ("N-2", 200)):
        token = await token_of(hub, program, guid, method=SignIn.ID, identifiers=national_id, dateOfBirth="1990-04-02")
        assert (await opens(client, token)).status_code == status


async def test_one_record_has_one_share_of_the_hub_however_its_owner_signs_in(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path, None, REQUEST_RATE_LIMIT=50))
    async with app.router.lifespan_context(app), asgi_client(app) as admin, asgi_client(app) as client:
        answer = await admin.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        admin.headers.update(bearer(answer.json()["token"]))
        program = await make_open_program(admin)
        guid = await make_citizen(admin, program, phone="+1555", email="ana@x.example")
        left = []
        for typed in ("+1555", " +1555", "ana@x.example", "ANA@x.example"):
            token = await token_of(app.state.hub, program, guid, identifier=typed, phone="+1555")
            told = await client.get("/api/auth/self-service/entity", headers=bearer(token))
            left.append(told.headers["ratelimit"].partition(";t=")[0])
        assert left == [f'"account";r={number}' for number in (49, 48, 47, 46)]
