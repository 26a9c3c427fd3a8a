"""The attacker on sync, conflicts and entities: weak points S1-S11 of the reference's sync area, and its entity reads."""

import asyncio
import time
import uuid
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from tests.accounts import bearer, login, make_person
from tests.factories import make_audit_log, make_event, make_program, pull, pull_all, pull_audit, push, push_audit
from tests.security.conftest import Attacker

pytestmark = pytest.mark.anyio

DEVICE = {"X-Device-Id": "tablet-07"}


def named(data: dict[str, Any]) -> dict[str, Any]:
    return {"name": "N", "entityName": "individual", **data}


async def data_of(admin: AsyncClient, program: str, guid: str) -> Any:
    answer = await admin.get(f"/api/entities/{guid}", params={"configId": program})
    return answer.json()["data"] if answer.status_code == 200 else None


async def test_sync_s1_a_push_reaches_no_other_program(attacker: Attacker) -> None:
    headers, before = await attacker.headers("system-admin"), await attacker.counts()
    for query, body in (
        ({"configId": attacker.mine}, {"configId": attacker.theirs}),
        ({}, {"configId": attacker.theirs}),
        ({"configId": attacker.theirs}, {}),
        ({"configId": attacker.theirs}, {"configId": attacker.theirs}),
    ):
        for path, rest in (
            ("push", {"events": [make_event()]}),
            ("push/audit-logs", {"auditLogs": [make_audit_log()]}),
        ):
            answer = await attacker.client.post(f"/api/sync/{path}", params=query, json=rest | body, headers=headers)
            assert answer.status_code in {400, 403}, answer.text
    assert await attacker.counts() == before


class Field:
    """One program of two areas; the attacker works in A and wants the people of Z."""

    def __init__(self, admin: AsyncClient, client: AsyncClient, program: str, headers: dict[str, str]) -> None:
        self.admin, self.client, self.program, self.headers = admin, client, program, headers

    async def try_(self, *events: dict[str, Any], **members: Any) -> Any:
        body = {"events": list(events), "configId": self.program} | members
        return await self.client.post("/api/sync/push", json=body, headers=self.headers)

    async def state(self) -> dict[str, Any]:
        found = (await self.admin.get("/api/entities", params={"configId": self.program, "limit": 1000})).json()
        return {entity["guid"]: (entity["data"], entity.get("memberIds")) for entity in found}


@pytest.fixture
async def field(admin: AsyncClient, client: AsyncClient) -> Field:
    program = await make_program(admin)
    stored = await push(
        admin,
        program,
        make_event(entity="zoe", data=named({"area_id": "Z"})),
        make_event(
            "create-group", entity="far", data={"name": "F", "area_id": "Z", "members": [{"guid": "zoe", "name": "N"}]}
        ),
        make_event(entity="ana", data=named({"area_id": "A"})),
        make_event(
            "create-group", entity="near", data={"name": "G", "area_id": "A", "members": [{"guid": "ana", "name": "N"}]}
        ),
    )
    assert stored.status_code == 200, stored.text
    role = {"tenantId": program, "role": "enumerator", "areaId": "A"}
    person = await make_person(admin, tenantIds=[program], roleAssignments=[role])
    return Field(admin, client, program, DEVICE | bearer((await login(client, person))["token"]))


REACHING = {
    "sync_s2 create over an entity": [("create-individual", "zoe", named({"area_id": "A"}))],
    "sync_s2 create over a group": [("create-group", "far", {"name": "mine", "area_id": "A"})],
    "sync_s2 move it here first": [
        ("update-individual", "zoe", {"area_id": "A"}),
        ("update-individual", "zoe", {"name": "taken"}),
    ],
    "sync_s3 remove a foreign member": [("remove-member", "far", {"memberId": "zoe"})],
    "sync_s3 remove a foreign group from one's own": [("remove-member", "near", {"memberId": "far"})],
    "sync_s4 attach and delete": [
        ("add-member", "near", {"members": [{"guid": "zoe"}]}),
        ("delete-entity", "near", {"reason": "x"}),
    ],
    "sync_s4 attach a group and delete": [
        ("add-member", "near", {"members": [{"guid": "far"}]}),
        ("delete-entity", "near", {"reason": "x"}),
    ],
    "sync_s4 attach by a new group": [
        ("create-group", "trap", {"name": "T", "area_id": "A", "members": [{"guid": "zoe", "name": "taken"}]}),
        ("delete-entity", "trap", {"reason": "x"}),
    ],
    "sync_s4 attach by an update": [("update-group", "near", {"members": [{"guid": "ana"}, {"guid": "zoe"}]})],
    "sync_s4 delete it": [("delete-entity", "far", {"reason": "x"})],
    "sync_s4 become its parent": [("update-individual", "zoe", {"parentId": "near"})],
}


@pytest.mark.parametrize("attack", list(REACHING), ids=lambda name: name.replace(" ", "_"))
@pytest.mark.parametrize("atomic", [True, False])
async def test_sync_s2_s3_s4_nobody_is_reached_through_another_event(field: Field, attack: str, atomic: bool) -> None:
    before = await field.state()
    events = [make_event(type, entity=entity, data=data) for type, entity, data in REACHING[attack]]
    answer = await field.try_(*events, atomic=atomic)
    assert answer.status_code in {207, 422}, answer.text
    after = await field.state()
    for victim in ("zoe", "far"):
        assert after[victim] == before[victim], attack


async def test_sync_s4_circles_of_groups_end(field: Field) -> None:
    """Cyclic memberships made the reference recurse without end."""
    circle = [
        make_event("create-group", entity="one", data={"name": "1", "area_id": "A"}),
        make_event("create-group", entity="two", data={"name": "2", "area_id": "A", "members": [{"guid": "one"}]}),
        make_event("add-member", entity="one", data={"members": [{"guid": "two"}]}),
        make_event("add-member", entity="one", data={"members": [{"guid": "one"}]}),
        make_event("delete-entity", entity="one", data={"reason": "x"}),
    ]
    for event in circle:
        answer = await field.try_(event)
        assert answer.status_code < 500, answer.text
    # A chain of 500 groups, each within the one before, and an attempt to close it.
    program, admin = field.program, field.admin
    chain = [make_event("create-group", entity="c0", data={"name": "c"})]
    chain += [
        make_event("create-group", entity=f"c{n}", data={"name": "c", "members": [{"guid": f"c{n - 1}"}]})
        for n in range(1, 500)
    ]
    answer = await push(admin, program, *chain, atomic=False)
    assert answer.status_code < 500
    closing = make_event("add-member", entity="c0", data={"members": [{"guid": "c499"}]})
    delete = make_event("delete-entity", entity="c499", data={"reason": "x"})
    assert (await push(admin, program, closing, delete, atomic=False)).status_code < 500
    assert (await pull(admin, program)).status_code == 200


async def test_sync_s5_a_guid_of_another_program_is_neither_taken_nor_told(attacker: Attacker) -> None:
    theirs = (await pull(attacker.admin, attacker.theirs)).json()["events"][0]
    headers = await attacker.headers()
    mine = make_event(guid=theirs["guid"])
    answer = await attacker.client.post(
        "/api/sync/push", json={"events": [mine], "configId": attacker.mine}, headers=headers
    )
    assert (answer.status_code, answer.json()["applied"], answer.json()["failed"]) == (200, 1, [])
    # Nor can a guid be taken beforehand from its owner.
    squatted = make_event()
    await attacker.client.post(
        "/api/sync/push", json={"events": [squatted], "configId": attacker.mine}, headers=headers
    )
    answer = await push(attacker.admin, attacker.theirs, make_event(guid=squatted["guid"]))
    assert (answer.status_code, answer.json()["applied"]) == (200, 1)


async def test_sync_s6_nobody_signs_for_somebody_else(attacker: Attacker) -> None:
    person = await attacker.account("supervisor")
    headers = bearer((await login(attacker.client, person))["token"])
    event = make_event(userId="1")
    body = {"events": [event], "configId": attacker.mine}
    await attacker.client.post("/api/sync/push", json=body, headers=headers)
    log = make_audit_log(userId="1", signature="the administrator's")
    async with AsyncClientOf(attacker, headers) as mine:
        await push_audit(mine, attacker.mine, log)
        trail = (await pull_audit(mine, attacker.mine)).json()
    assert {entry["userId"] for entry in trail if entry["guid"] == log["guid"]} == {str(person.id)}
    assert {entry["actor"] for entry in trail} == {str(person.id)}


class AsyncClientOf:
    """The shared client with headers of one's own, for helpers that take a client."""

    def __init__(self, attacker: Attacker, headers: dict[str, str]) -> None:
        self._client = AsyncClient(transport=attacker.client._transport, base_url="http://hub.test", headers=headers)

    async def __aenter__(self) -> AsyncClient:
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()


async def test_sync_s7_an_enumerator_decides_and_reads_nothing_that_is_a_supervisors(attacker: Attacker) -> None:
    headers, mine = await attacker.headers("enumerator"), {"configId": attacker.mine}
    for method, path, body in (
        ("GET", "/api/sync/pull/audit-logs", None),
        ("POST", "/api/conflicts/x/resolve", {"resolution": "local"}),
        ("GET", "/api/sync/quarantine", None),
        ("GET", "/api/sync/quarantine/x", None),
        ("POST", "/api/sync/quarantine/x/replay", {}),
        ("POST", "/api/sync/quarantine/x/discard", {"reason": "no"}),
        ("POST", "/api/sync/quarantine/replay", {"ids": ["x"]}),
        ("POST", "/api/sync/quarantine/discard", {"ids": ["x"], "reason": "no"}),
        ("GET", "/api/admin/devices", None),
        ("POST", "/api/admin/devices/d/revoke", None),
    ):
        answer = await attacker.client.request(method, path, params=mine, json=body, headers=headers)
        assert answer.status_code == 403, (method, path, answer.text)


async def test_sync_s7_a_viewer_writes_nothing(attacker: Attacker) -> None:
    headers, before = await attacker.headers("viewer"), await attacker.counts()
    for path, body in (("push", {"events": [make_event()]}), ("push/audit-logs", {"auditLogs": [make_audit_log()]})):
        answer = await attacker.client.post(
            f"/api/sync/{path}", json=body | {"configId": attacker.mine}, headers=headers
        )
        assert answer.status_code == 403
    assert await attacker.counts() == before


async def test_sync_s9_a_strangers_body_is_not_looked_into(client: AsyncClient, attacker: Attacker) -> None:
    """Deep, endless or broken: without a token the answer is 401, whatever the body holds."""
    for body in (
        b"{",
        b"[" * 100_000,
        b'{"configId":"' + attacker.theirs.encode() + b'"}',
        b"\xff\xfe",
        b"x" * 5_000_000,
    ):
        for path in ("/api/sync/push", "/api/sync/push/audit-logs"):
            answer = await client.post(path, content=body)
            assert answer.status_code == 401, answer.text


async def test_sync_s9_a_refused_event_is_explained_without_the_database(admin: AsyncClient) -> None:
    program = await make_program(admin)
    big = 2**63
    for event in (
        make_event("no-such-type"),
        make_event(data={"name": "x" * 200_000, "n": big}),
        make_event(guid="g" * 5000),
        make_event(entity="e" * 5000),
        make_event(timestamp="9999-12-31T23:59:59.999Z"),
        make_event(data={"name": "N", "deep": {"a": [[[[[[]]]]]]}}),
        make_event("add-member", entity="nobody", data={"members": [{"guid": "x"}]}),
    ):
        for atomic in (True, False):
            answer = await push(admin, program, event, atomic=atomic)
            assert answer.status_code < 500, answer.text
            assert not any(
                w in answer.text.lower() for w in ("sqlite", "asyncpg", "constraint", "select ", "traceback")
            )


async def test_sync_s10_made_up_devices_fill_no_list(admin: AsyncClient, attacker: Attacker, hub: Hub) -> None:
    headers = await attacker.headers()
    for n in range(80):
        await attacker.client.get(
            "/api/sync/pull", params={"configId": attacker.mine}, headers=headers | {"X-Device-Id": f"made-up-{n}"}
        )
    await hub.devices.flush()
    listed = (await admin.get("/api/admin/devices", params={"configId": attacker.mine})).json()
    assert len(listed) == 50
    for bad in ("", "x" * 65, "a b", "<script>", "é", "a\tb", "../x"):
        answer = await attacker.client.get(
            "/api/sync/pull", params={"configId": attacker.mine}, headers=headers | {"X-Device-Id": bad.encode()}
        )
        assert answer.status_code in {200, 400}


async def test_sync_s11_a_hint_widens_nothing(field: Field) -> None:
    for hint in ("Z", "A,Z", "*", "%", "A' OR '1'='1", "Z,".join(["A"] * 50)):
        query = {"configId": field.program, "areaIds": hint, "limit": "5000"}
        answer = await field.client.get("/api/sync/pull", params=query, headers=field.headers)
        assert answer.status_code == 200
        assert not {e["entityGuid"] for e in answer.json()["events"]} & {"zoe", "far"}, hint


async def test_entities_1_nothing_of_another_program_is_read(attacker: Attacker) -> None:
    """`GET` with every spelling of the other program, with a guid that is known to be there."""
    headers, victim = await attacker.headers("system-admin"), attacker.victim
    paths = [
        "/api/entities",
        "/api/entities/count",
        "/api/entities/count-by-form",
        f"/api/entities/{victim}",
        f"/api/entities/{victim}/members",
        f"/api/entities/{victim}/events",
        f"/api/entities/{victim}/history",
        "/api/sync/pull",
        "/api/sync/pull/audit-logs",
        "/api/sync/quarantine",
        "/api/conflicts",
        "/api/conflicts/x",
    ]
    for path in paths:
        foreign = await attacker.client.get(path, params={"configId": attacker.theirs}, headers=headers)
        assert foreign.status_code == 403, (path, foreign.text)
        own = await attacker.client.get(path, params={"configId": attacker.mine}, headers=headers)
        assert "Victim" not in own.text and "N-1" not in own.text, path
        both = await attacker.client.get(
            path, params=[("configId", attacker.mine), ("configId", attacker.theirs)], headers=headers
        )
        assert both.status_code == 400, path


async def test_entities_10_a_worker_of_one_area_reads_nobody_of_another(field: Field) -> None:
    for path in ("/zoe", "/far", "/far/members", "/zoe/events", "/zoe/history"):
        answer = await field.client.get(
            f"/api/entities{path}", params={"configId": field.program}, headers=field.headers
        )
        assert answer.status_code in {403, 404} or answer.json() in ([], {"events": []}), (path, answer.text)
        assert "Z" not in answer.text.replace("Zulu", ""), (path, answer.text)
    listed = await field.client.get("/api/entities", params={"configId": field.program}, headers=field.headers)
    assert {entity["guid"] for entity in listed.json()} == {"ana", "near"}


INJECTIONS = [
    "' OR '1'='1",
    "'; DROP TABLE events; --",
    "\\'; SELECT 1",
    "%",
    "_",
    "*",
    "$1",
    "?",
    ":name",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "../../etc/passwd",
    "%2e%2e%2f",
    "\u202e",
    "a\r\nSet-Cookie: x=1",
    "x" * 4000,
]


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
async def test_entities_6_what_looks_like_sql_is_only_text(attacker: Attacker, text: str) -> None:
    headers = await attacker.headers("supervisor")
    mine = {"configId": attacker.mine}
    for path, query in (
        (f"/api/entities/{uuid.uuid4()}", {"configId": text}),
        ("/api/entities", mine | {"limit": text}),
        ("/api/sync/pull", mine | {"since": text}),
        ("/api/sync/pull", mine | {"limit": text}),
        ("/api/sync/pull", mine | {"areaIds": text}),
        ("/api/sync/pull/audit-logs", mine | {"cursor": text}),
        ("/api/sync/pull/audit-logs", mine | {"entityGuid": text}),
        ("/api/conflicts", mine | {"entityGuid": text}),
        ("/api/conflicts", mine | {"status": text}),
        ("/api/sync/quarantine", mine | {"code": text, "deviceId": text}),
        ("/api/apps", {"search": text, "sortBy": text, "sortOrder": text, "page": text}),
    ):
        answer = await attacker.client.get(path, params=query, headers=headers)
        assert answer.status_code < 500, (path, query, answer.text)
        assert "Victim" not in answer.text and "set-cookie" not in answer.headers
    event = make_event(entity=text, data={"name": text, "entityName": text, text: text})
    body = {"events": [event], "configId": attacker.mine}
    assert (await attacker.client.post("/api/sync/push", json=body, headers=headers)).status_code < 500
    assert (await attacker.counts())[1] == 1


async def test_conflicts_3_of_two_decisions_at_once_one_holds(admin: AsyncClient) -> None:
    program = await make_program(admin)
    event = make_event(data=named({"age": 1}), timestamp="2025-03-01T00:00:00.000Z")
    late = make_event(
        "update-individual", entity=event["entityGuid"], data={"age": 2}, timestamp="2025-02-01T00:00:00.000Z"
    )
    await push(admin, program, event)
    await push(admin, program, late)
    [conflict] = (await admin.get("/api/conflicts", params={"configId": program})).json()["conflicts"]
    answers = await asyncio.gather(
        *(
            admin.post(
                f"/api/conflicts/{conflict['guid']}/resolve", params={"configId": program}, json={"resolution": way}
            )
            for way in ("local", "remote", "local", "remote")
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


async def test_hostile_json_is_refused_quickly(admin: AsyncClient) -> None:
    """Depth, width, numbers and keys that make parsers slow or wrong."""
    program = await make_program(admin)
    bodies = {
        "deep arrays": b"[" * 200_000 + b"]" * 200_000,
        "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "a huge number": b'{"configId":"x","events":[' + b"9" * 100_000 + b"]}",
        "an exponent": b'{"events":[1e999999999]}',
        "a key twice": b'{"events":[],"events":[]}',
        "proto": b'{"__proto__":{"admin":true},"constructor":{},"events":[],"configId":"' + program.encode() + b'"}',
        "NUL": b'{"events":[],"x":"\\u0000"}',
        "half a surrogate": b'{"events":[],"x":"\\ud800"}',
        "not UTF-8": b'{"events":[],"x":"\xff"}',
        "NaN": b'{"events":[NaN]}',
        "a comment": b'{"events":[]/**/}',
        "two BOMs": b'\xef\xbb\xbf\xef\xbb\xbf{"events":[]}',
    }
    for name, body in bodies.items():
        began = time.perf_counter()
        answer = await admin.post("/api/sync/push", content=body)
        assert answer.status_code in ({200, 400} if name == "proto" else {400}), (name, answer.text[:200])
        assert time.perf_counter() - began < 5, name
    assert await pull_all(admin, program) == []
