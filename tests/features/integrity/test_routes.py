"""`/api/integrity` through HTTP, on both engines."""

from typing import Any

import pytest
import structlog
from httpx2 import AsyncClient

from datacollect.assembly import event_store
from datacollect.db import EVERY_TENANT
from datacollect.eventstore.anchors import anchor_file
from datacollect.eventstore.verification import Finding, FindingCode, Reached, Verification, verify
from datacollect.features.integrity.model import result_of
from datacollect.features.integrity.service import keep_verification
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from tests.accounts import assert_refused, bearer, login, make_person
from tests.factories import make_event, make_program, new_id, push

pytestmark = pytest.mark.anyio

NOW = Millis(1_750_000_000_000)


async def integrity_of(client: AsyncClient, program: str) -> Any:
    answer = await client.get("/api/integrity", params={"configId": program})
    assert answer.status_code == 200, answer.text
    return answer.json()


def scope_of(program: str) -> TenantScope:
    return system_scope(TenantId(program))


async def verified(hub: Hub, program: str) -> Verification:
    async with hub.db.reading(EVERY_TENANT) as view:
        return await verify(view, event_store(hub.db), scope_of(program))


async def keep(hub: Hub, program: str, outcome: Verification) -> None:
    async with hub.db.transaction(EVERY_TENANT) as tx:
        await keep_verification(tx, scope_of(program), result_of(outcome, now=NOW))


async def test_a_program_without_events_has_an_empty_head(admin: AsyncClient) -> None:
    program = await make_program(admin)
    assert await integrity_of(admin, program) == {
        "status": "success",
        "configId": program,
        "algorithm": "v3",
        "head": "",
        "count": 0,
        "position": 0,
        "recordedAt": None,
        "lastVerification": None,
        "lastAnchor": None,
    }


async def test_the_head_the_last_verification_and_the_last_anchor_are_told(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await push(admin, program, *(make_event() for _ in range(501)))
    await hub.anchorer.finish()
    outcome = await verified(hub, program)
    await keep(hub, program, outcome)
    await push(admin, program, make_event())
    told = await integrity_of(admin, program)
    sound = f"v3:{outcome.sound.chain_hash.hex()}"
    assert (told["count"], told["position"]) == (502, 502)
    assert told["head"] == f"v3:{(await verified(hub, program)).sound.chain_hash.hex()}"
    assert told["recordedAt"] <= format_timestamp(hub.clock.now())
    assert told["lastVerification"] == {
        "verifiedAt": format_timestamp(NOW),
        "ok": True,
        "position": 501,
        "head": sound,
        "finding": None,
    }
    written_at = told["lastAnchor"].pop("writtenAt")
    assert told["lastAnchor"] == {"position": 501, "head": sound}
    assert written_at <= format_timestamp(hub.clock.now())


async def test_a_finding_is_told_without_a_guid_that_is_none(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    guid = make_event()["guid"]
    for stored, shown in ((guid, guid), ("Somsak Phommachanh", None), ("\udcff", None)):
        finding = Finding(FindingCode.CHAIN_BROKEN, 1, stored, "Broken.")
        await keep(hub, program, Verification(Reached(), finding))
        told = (await integrity_of(admin, program))["lastVerification"]
        assert (told["ok"], told["position"], told["head"]) == (False, 0, "")
        assert told["finding"] == {"code": "CHAIN_BROKEN", "position": 1, "guid": shown, "message": "Broken."}


async def test_only_the_programs_own_state_is_told(admin: AsyncClient, hub: Hub) -> None:
    program, other = await make_program(admin), await make_program(admin)
    await push(admin, other, *(make_event() for _ in range(500)))
    await hub.anchorer.finish()
    await keep(hub, other, await verified(hub, other))
    told = await integrity_of(admin, program)
    assert (told["count"], told["lastVerification"], told["lastAnchor"]) == (0, None, None)


async def test_anchors_that_cannot_be_read_are_logged_and_the_rest_is_told(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await push(admin, program, make_event())
    file = anchor_file(hub.settings.data_dir, TenantId(program))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("nonsense\n")
    with structlog.testing.capture_logs() as lines:
        told = await integrity_of(admin, program)
    assert (told["count"], told["lastAnchor"]) == (1, None)
    unreadable = [line for line in lines if line["event"] == "anchors.unreadable"]
    assert [line["tenant_id"] for line in unreadable] == [program]


@pytest.mark.parametrize("size", [0, 1200])
async def test_the_number_of_statements_is_the_same_for_any_history(admin: AsyncClient, hub: Hub, size: int) -> None:
    program = await make_program(admin)
    for _ in range(0, size, 600):
        await push(admin, program, *(make_event() for _ in range(600)))
    await integrity_of(admin, program)
    with hub.db.statements.record() as statements:
        await integrity_of(admin, program)
    about_events = [sql for sql in statements if " events" in sql]
    assert about_events == []
    assert len([sql for sql in statements if "log_heads" in sql or "verifications" in sql]) == 2
    assert len(statements) <= 4


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("viewer", False), ("enumerator", False), ("supervisor", True), ("program-admin", True), (None, False)],
)
async def test_only_supervisors_may_look(
    admin: AsyncClient, client: AsyncClient, role: str | None, allowed: bool
) -> None:
    program = await make_program(admin)
    assignments = [{"tenantId": program, "role": role}] if role else []
    person = await make_person(admin, tenantIds=[program], roleAssignments=assignments)
    client.headers.update(bearer((await login(client, person))["token"]))
    if allowed:
        assert (await integrity_of(client, program))["configId"] == program
    else:
        answer = await client.get("/api/integrity", params={"configId": program})
        assert_refused(answer, 403, "Forbidden: Insufficient permission", "INSUFFICIENT_PERMISSION")


async def test_strangers_learn_nothing_and_an_unknown_program_is_not_found(
    admin: AsyncClient, client: AsyncClient
) -> None:
    program, unknown = await make_program(admin), new_id()
    assert_refused(await client.get("/api/integrity"), 401, "Authorization header missing")
    person = await make_person(admin)
    client.headers.update(bearer((await login(client, person))["token"]))
    for config_id in (program, unknown):
        answer = await client.get("/api/integrity", params={"configId": config_id})
        assert_refused(answer, 403, "Forbidden: No access to this tenant", "TENANT_ACCESS_DENIED")
    answer = await admin.get("/api/integrity", params={"configId": unknown})
    assert_refused(answer, 404, "Tenant not found", "TENANT_NOT_FOUND")
