"""Whatever is sent to push and pull: a clear error with a stable code, nothing written, and a hub that still answers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.db import EVERY_TENANT
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.wire import Answer, Wire, asgi_wire
from tests.factories import make_event, make_program, new_id, push

pytestmark = pytest.mark.anyio

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Bench:
    """One program with one event in it, and a way to send anything to it."""

    wire: Wire
    hub: Hub
    program: str
    token: str

    async def push(self, body: bytes, query: str = "") -> Answer:
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        return await self.wire("POST", f"/api/sync/push{query}", headers=headers, body=body)

    async def pull(self, query: str) -> Answer:
        return await self.wire("GET", f"/api/sync/pull{query}", headers={"authorization": f"Bearer {self.token}"})

    async def position(self) -> int:
        async with self.hub.db.reading(EVERY_TENANT) as view:
            head = await self.hub.log.head(view, system_scope(TenantId(self.program)))
        return -1 if head is None else head.position

    async def assert_unharmed(self) -> None:
        assert await self.position() == 1
        answer = await self.pull(f"?since=&configId={self.program}")
        assert (answer.status, len(answer.json()["events"])) == (200, 1)


@pytest.fixture
async def bench(app: FastAPI, hub: Hub, admin: AsyncClient, admin_token: str) -> Bench:
    program = await make_program(admin)
    assert (await push(admin, program, make_event())).status_code == 200
    return Bench(asgi_wire(app), hub, program, admin_token)


def assert_refused(answer: Answer, status: int, code: str) -> dict[str, Any]:
    assert answer.status == status, answer.body[:500]
    assert answer.headers["content-type"].startswith("application/json")
    body: dict[str, Any] = answer.json()
    assert body["code"] == code
    assert isinstance(body["error"], str) and body["error"]
    assert isinstance(body["message"], str) and body["message"]
    assert body["requestId"] == answer.headers["x-request-id"]
    assert len(answer.body) < 20_000
    return body


def _text(program: str, event: str) -> bytes:
    """A push whose one event is written by hand."""
    return f'{{"events":[{event}],"configId":"{program}"}}'.encode()


def _event_text(**changes: str) -> str:
    """An event as JSON text; the changes are JSON text too, so that they can be anything."""
    members = {key: json.dumps(value) for key, value in make_event().items()} | changes
    return "{" + ",".join(f'"{key}":{value}' for key, value in members.items()) + "}"


# -- text that is not the JSON we take

UNREADABLE = {
    "no body": (b"", "INVALID_JSON"),
    "not JSON": (b"hello", "INVALID_JSON"),
    "cut off": (b'{"events": [', "INVALID_JSON"),
    "two documents": (b'{"events":[]}{"events":[]}', "INVALID_JSON"),
    "NaN": (b'{"events":[], "configId": NaN}', "INVALID_JSON"),
    "single quotes": (b"{'events':[]}", "INVALID_JSON"),
    "invalid UTF-8": (_text("p", _event_text(data='{"name":"Zo?"}')).replace(b"?", b"\xff"), "INVALID_UTF8"),
    "half a surrogate in UTF-8": (
        _text("p", _event_text(data='{"name":"?"}')).replace(b"?", b"\xed\xa0\x80"),
        "INVALID_UTF8",
    ),
    "NUL": (_text("p", _event_text(data='{"name":"a?b"}')).replace(b"?", b"\x00"), "NUL_CHARACTER"),
    "escaped NUL": (_text("p", _event_text(data='{"name":"a\\u0000b"}')), "NUL_CHARACTER"),
    "escaped NUL in a key": (_text("p", _event_text(data='{"a\\u0000":1}')), "NUL_CHARACTER"),
    "half a surrogate, escaped": (_text("p", _event_text(data='{"name":"a\\ud800b"}')), "INVALID_JSON"),
    "1e999": (_text("p", _event_text(data='{"age":1e999}')), "NUMBER_OUT_OF_RANGE"),
    "-1e999": (_text("p", _event_text(data='{"age":-1e999}')), "NUMBER_OUT_OF_RANGE"),
    "duplicate key": (_text("p", _event_text(data='{"age":1,"age":2}')), "DUPLICATE_KEY"),
    "duplicate key, once escaped": (_text("p", _event_text(data='{"age":1,"\\u0061ge":2}')), "DUPLICATE_KEY"),
    "duplicate key of the push": (b'{"events":[],"configId":"p","configId":"q"}', "DUPLICATE_KEY"),
    "10,000 arrays deep": (_text("p", _event_text(data='{"a":' + "[" * 10_000 + "]" * 10_000 + "}")), "JSON_TOO_DEEP"),
    "10,000 objects deep": (_text("p", _event_text(data='{"a":' * 10_000 + "1" + "}" * 10_000)), "JSON_TOO_DEEP"),
    "10,000 deep and cut off": (b"[" * 10_000, None),
    "a byte order mark in UTF-16": ('{"events":[]}'.encode("utf-16"), None),
}


@pytest.mark.parametrize("case", UNREADABLE)
async def test_a_body_that_is_not_plain_json_is_refused(bench: Bench, case: str) -> None:
    body, code = UNREADABLE[case]
    answer = await bench.push(body.replace(b'"configId":"p"', f'"configId":"{bench.program}"'.encode()))
    if code is None:
        assert answer.json()["code"] in {"INVALID_JSON", "JSON_TOO_DEEP", "INVALID_UTF8", "NUL_CHARACTER"}
        code = answer.json()["code"]
    assert_refused(answer, 400, code)
    await bench.assert_unharmed()


IN_AN_EVENT = [case for case, (text, code) in UNREADABLE.items() if b'"guid"' in text and code is not None]


@pytest.mark.parametrize("case", IN_AN_EVENT)
async def test_an_event_that_makes_a_body_unreadable_is_named(bench: Bench, case: str) -> None:
    """A device was told nothing but that its body is wrong: it sent the same again, and all behind it, for ever."""
    text, code = UNREADABLE[case]
    event = text[len(b'{"events":[') : -len(b'],"configId":"p"}')]
    good = _event_text(data='{"x":"],[{\\"\\ud83d\\ude00","n":[1, 2]}').encode()
    members = f'"configId":"{bench.program}", "atomic":true,"x":[{{"events":[{{}}]}}]'.encode()
    order = (good, event, good, event)
    body = b"{" + members + b', "events" : [' + b" ,\n".join(order) + b" ] }"
    refused = assert_refused(await bench.push(body), 400, code or "")
    deep = code == "JSON_TOO_DEEP"  # so deep that what is behind it cannot be told from it
    named = [(issue["code"], issue["path"]) for issue in refused["errors"]]
    assert named[:1] == [("unreadable", ["events", 1])]
    assert deep or named[1:] == [("unreadable", ["events", 3])]
    await bench.assert_unharmed()
    assert (
        await bench.push(body.replace(event, b"").replace(b" ,\n ,\n", b",").replace(b" ,\n ]", b"]"))
    ).status == 200


@pytest.mark.parametrize("levels", [60, 61])
async def test_an_event_is_named_for_its_depth_where_the_push_is_too_deep_for_it(bench: Bench, levels: int) -> None:
    events = [_event_text(data=f'{{"a":{"[" * depth}{"]" * depth}}}') for depth in (60, levels)]
    answer = await bench.push(_text(bench.program, ",".join(events)))
    named = [issue["path"] for issue in answer.json().get("errors", ())]
    assert (answer.status, named) == ((200, []) if levels == 60 else (400, [["events", 1]]))


@pytest.mark.parametrize(
    "body",
    [
        b'{"events":[{"x":"\\u0000"},',
        b'{"events":[{"x":"\\u0000"} {}]}',
        b'{"events":{"x":"\\u0000"}}',
        b'{"events":["a"],"x":"\\u0000"}',
        b'["\\u0000"]',
        b'{"events":[],"\\u0000":1}',
        b'{"events":[' + b'{"x":"\\u0000"},' + b"[[]]," * 100_000 + b"0]}",
    ],
)
async def test_a_body_that_is_unreadable_by_itself_names_no_event(bench: Bench, body: bytes) -> None:
    answer = await bench.push(body, f"?configId={bench.program}")
    assert "errors" not in assert_refused(answer, 400, "NUL_CHARACTER")
    await bench.assert_unharmed()


# -- JSON of the wrong shape

WRONG_EVENTS = {
    "an event that is a text": ('"create"', ["events", 0]),
    "an event that is null": ("null", ["events", 0]),
    "an event that is an array": ("[]", ["events", 0]),
    "guid a number": (_event_text(guid="7"), ["events", 0, "guid"]),
    "guid not a UUID": (_event_text(guid='"g-1"'), ["events", 0, "guid"]),
    "guid empty": (_event_text(guid='""'), ["events", 0, "guid"]),
    "entityGuid empty": (_event_text(entityGuid='""'), ["events", 0, "entityGuid"]),
    "entityGuid null": (_event_text(entityGuid="null"), ["events", 0, "entityGuid"]),
    "entityGuid endless": (_event_text(entityGuid=json.dumps("x" * 100_000)), ["events", 0, "entityGuid"]),
    "type an object": (_event_text(type="{}"), ["events", 0, "type"]),
    "data an array": (_event_text(data="[]"), ["events", 0, "data"]),
    "data a text": (_event_text(data='"x"'), ["events", 0, "data"]),
    "data null": (_event_text(data="null"), ["events", 0, "data"]),
    "timestamp a number": (_event_text(timestamp="1735689600000"), ["events", 0, "timestamp"]),
    "timestamp a word": (_event_text(timestamp='"now"'), ["events", 0, "timestamp"]),
    "timestamp with an offset": (_event_text(timestamp='"2025-01-01T00:00:00.000+00:00"'), ["events", 0, "timestamp"]),
    "timestamp of the 30th of February": (
        _event_text(timestamp='"2025-02-30T00:00:00.000Z"'),
        ["events", 0, "timestamp"],
    ),
    "timestamp of year 0": (_event_text(timestamp='"0000-01-01T00:00:00.000Z"'), ["events", 0, "timestamp"]),
    "timestamp in other digits": (_event_text(timestamp='"２０２５-01-01T00:00:00.000Z"'), ["events", 0, "timestamp"]),
    "userId a number": (_event_text(userId="1"), ["events", 0, "userId"]),
    "syncLevel a text": (_event_text(syncLevel='"0"'), ["events", 0, "syncLevel"]),
    "syncLevel a boolean": (_event_text(syncLevel="true"), ["events", 0, "syncLevel"]),
    "schemaVersion a text": (_event_text(schemaVersion='"1"'), ["events", 0, "schemaVersion"]),
    "schemaVersion a half": (_event_text(schemaVersion="1.5"), ["events", 0, "schemaVersion"]),
    "schemaVersion endless": (_event_text(schemaVersion="1" + "0" * 300), ["events", 0, "schemaVersion"]),
}


@pytest.mark.parametrize("case", WRONG_EVENTS)
async def test_an_event_of_the_wrong_shape_is_refused_and_named(bench: Bench, case: str) -> None:
    text, path = WRONG_EVENTS[case]
    answer = await bench.push(_text(bench.program, f"{_event_text()},{text}".replace("\n", "")))
    body = assert_refused(answer, 400, "INVALID_PAYLOAD")
    assert body["status"] == "error"
    assert [issue["path"] for issue in body["errors"]] == [["events", 1, *path[2:]]]
    await bench.assert_unharmed()


@pytest.mark.parametrize("member", ["guid", "entityGuid", "type", "data", "timestamp", "userId", "syncLevel"])
async def test_an_event_that_lacks_a_member_is_refused_and_the_member_named(bench: Bench, member: str) -> None:
    event = make_event()
    del event[member]
    answer = await bench.push(json.dumps({"events": [event], "configId": bench.program}).encode())
    body = assert_refused(answer, 400, "INVALID_PAYLOAD")
    assert body["errors"] == [{"code": "invalid_type", "path": ["events", 0, member], "message": "Required"}]
    await bench.assert_unharmed()


@pytest.mark.parametrize("events", ["null", "{}", '"x"', "7", None])
async def test_events_that_are_no_array_are_refused(bench: Bench, events: str | None) -> None:
    member = "" if events is None else f'"events":{events},'
    body = assert_refused(
        await bench.push(f'{{{member}"configId":"{bench.program}"}}'.encode()), 400, "INVALID_PAYLOAD"
    )
    assert [issue["path"] for issue in body["errors"]] == [["events"]]
    await bench.assert_unharmed()


@pytest.mark.parametrize("document", ["[]", "null", "7", '"events"', "true"])
async def test_a_body_that_is_no_object_is_refused(bench: Bench, document: str) -> None:
    answer = await bench.push(document.encode(), f"?configId={bench.program}")
    assert_refused(answer, 400, "INVALID_PAYLOAD")
    await bench.assert_unharmed()


async def test_all_that_is_wrong_is_named_at_once(bench: Bench) -> None:
    text = _text(bench.program, f"{_event_text(guid='1', data='2')},{_event_text(type='3')}")
    body = assert_refused(await bench.push(text), 400, "INVALID_PAYLOAD")
    paths = [issue["path"] for issue in body["errors"]]
    assert paths == [["events", 0, "guid"], ["events", 0, "data"], ["events", 1, "type"]]


INCOMPLETE: dict[str, dict[str, Any]] = {
    "unknown type": {"type": "no-such-type"},
    "empty type": {"type": ""},
    "no data": {"data": {}},
    "no user": {"userId": ""},
    "a member of nothing": {"type": "add-member", "data": {"members": [{"guid": "m-1", "name": "Eva"}]}},
    "a member without a guid": {"type": "create-group", "data": {"name": "H", "members": [{"name": "Eva"}]}},
    "nobody removed": {"type": "remove-member", "data": {"name": "x"}},
}


@pytest.mark.parametrize("case", INCOMPLETE)
async def test_an_event_that_cannot_be_applied_takes_its_push_with_it(bench: Bench, case: str) -> None:
    events = [make_event(), make_event(), make_event(**INCOMPLETE[case])]
    answer = await bench.push(json.dumps({"events": events, "configId": bench.program}).encode())
    body = assert_refused(answer, 422, "PUSH_REJECTED")
    assert (body["status"], body["applied"]) == ("error", 0)
    [failure] = body["failed"]
    assert (failure["index"], failure["eventGuid"], failure["reason"]) == (2, events[2]["guid"], "submit_failed")
    assert failure["error"] and failure["code"]
    await bench.assert_unharmed()


# -- whose program it is


def _naming(program: str) -> bytes:
    return json.dumps({"events": [make_event()], "configId": program}).encode()


async def test_an_unknown_program_is_refused(bench: Bench) -> None:
    unknown = new_id()
    for answer in (await bench.push(_naming(unknown)), await bench.pull(f"?since=&configId={unknown}")):
        assert assert_refused(answer, 400, "TENANT_UNKNOWN")["error"] == "App instance not found"


@pytest.mark.parametrize("name", ["..%2F..%2Fetc", "%F0%9F%92%A5", "x" * 5000, "'%20OR%201=1--", "%FF"])
async def test_a_program_name_that_can_be_none_is_unknown(bench: Bench, name: str) -> None:
    assert_refused(await bench.pull(f"?since=&configId={name}"), 400, "TENANT_UNKNOWN")
    await bench.assert_unharmed()


@pytest.mark.parametrize("query", ["configId=a%00b", "configId=%00", "since=2025-01-01T00:00:00.000Z|%00", "limit=%00"])
async def test_a_nul_in_the_address_is_refused(bench: Bench, query: str) -> None:
    assert_refused(await bench.pull(f"?{query}"), 400, "NUL_CHARACTER")
    assert_refused(await bench.push(_naming(bench.program), f"?{query}"), 400, "NUL_CHARACTER")
    await bench.assert_unharmed()


async def _sign_up(admin: AsyncClient, app: FastAPI, **members: Any) -> str:
    """A new account's token."""
    account = {"email": f"{new_id('u')}@hub.test", "password": "Agent-Password-1", "role": "USER"}
    assert (await admin.post("/api/users", json=account | members)).status_code == 201
    body = json.dumps(account).encode()
    token: str = (await asgi_wire(app)("POST", "/api/users/login", body=body)).json()["token"]
    return token


async def test_another_programs_member_is_refused_whatever_the_query_says(
    bench: Bench, app: FastAPI, admin: AsyncClient
) -> None:
    mine = await make_program(admin)
    stranger = replace(bench, token=await _sign_up(admin, app, tenantIds=[mine]))
    assert_refused(await stranger.push(_naming(bench.program)), 403, "TENANT_ACCESS_DENIED")
    assert_refused(await stranger.push(_naming(bench.program), f"?configId={mine}"), 400, "TENANT_MISMATCH")
    assert_refused(await stranger.push(_naming(mine), f"?configId={bench.program}"), 400, "TENANT_MISMATCH")
    assert_refused(await stranger.pull(f"?since=&configId={bench.program}"), 403, "TENANT_ACCESS_DENIED")
    assert_refused(await stranger.pull(f"?configId={mine}&configId={bench.program}"), 400, "TENANT_MISMATCH")
    await bench.assert_unharmed()
    assert (await stranger.push(_naming(mine))).status == 200


async def test_a_viewer_may_read_and_not_write(bench: Bench, app: FastAPI, admin: AsyncClient) -> None:
    assignment = {"tenantId": bench.program, "role": "viewer"}
    token = await _sign_up(admin, app, tenantIds=[bench.program], roleAssignments=[assignment])
    viewer = replace(bench, token=token)
    assert_refused(await viewer.push(_naming(bench.program)), 403, "INSUFFICIENT_PERMISSION")
    assert (await viewer.pull(f"?since=&configId={bench.program}")).status == 200
    await bench.assert_unharmed()


async def test_an_archived_program_is_refused_as_an_unknown_one(bench: Bench, admin: AsyncClient) -> None:
    assert (await admin.delete(f"/api/apps/{bench.program}")).status_code == 200
    for answer in (await bench.push(_naming(bench.program)), await bench.pull(f"?since=&configId={bench.program}")):
        assert_refused(answer, 400, "TENANT_UNKNOWN")
    await admin.post(f"/api/apps/{bench.program}/restore")
    await bench.assert_unharmed()


async def test_query_and_body_that_name_different_programs_are_refused(bench: Bench, admin: AsyncClient) -> None:
    other = await make_program(admin)
    for query, body in ((other, bench.program), (bench.program, other)):
        assert_refused(await bench.push(_naming(body), f"?configId={query}"), 400, "TENANT_MISMATCH")
    await bench.assert_unharmed()
    same = await bench.push(
        json.dumps({"events": [], "configId": bench.program}).encode(), f"?configId={bench.program}"
    )
    assert same.status == 200


async def test_a_program_named_twice_is_refused(bench: Bench) -> None:
    twice = f"?configId={bench.program}&configId={bench.program}"
    assert_refused(await bench.push(_naming(bench.program), twice), 400, "TENANT_MISMATCH")
    assert_refused(await bench.pull(f"{twice}&since="), 400, "TENANT_MISMATCH")
    await bench.assert_unharmed()


@pytest.mark.parametrize("name", ["7", "[]", "{}", "true"])
async def test_a_program_name_that_is_no_text_is_refused(bench: Bench, name: str) -> None:
    answer = await bench.push(f'{{"events":[],"configId":{name}}}'.encode())
    assert_refused(answer, 400, "TENANT_MISMATCH")


# -- how much


async def test_51_megabytes_are_refused_whether_announced_or_not(bench: Bench) -> None:
    body = b'{"events":[],"configId":"' + b"x" * (51 * MEGABYTE) + b'"}'
    answer = await bench.push(body)
    assert_refused(answer, 413, "PAYLOAD_TOO_LARGE")
    await bench.assert_unharmed()


async def test_a_length_that_was_only_announced_is_refused_without_reading(bench: Bench) -> None:
    headers = {"authorization": f"Bearer {bench.token}", "content-length": str(51 * MEGABYTE)}
    answer = await bench.wire("POST", "/api/sync/push", headers=headers, body=b"{}")
    assert_refused(answer, 413, "PAYLOAD_TOO_LARGE")


async def test_a_stranger_learns_nothing_of_what_their_body_holds(bench: Bench) -> None:
    """The caller is checked before the body is parsed: nonsense and sense get the same answer."""
    for body in (b"{", _naming(bench.program), b"\xff" * 1000):
        answer = await bench.wire("POST", "/api/sync/push", body=body)
        assert_refused(answer, 401, answer.json()["code"])
        assert answer.json()["error"] == "Authorization header missing"
    await bench.assert_unharmed()


# -- where to go on from


def _nonsense() -> Iterator[str]:
    yield from (
        "now",
        "infinity",
        "-infinity",
        "epoch",
        "today",
        "yesterday",
        "null",
        "undefined",
        "NaN",
        "0",
        "7",
        "|",
        "||",
    )
    yield from ("2025-13-01T00:00:00.000Z", "2025-02-30T00:00:00.000Z", "2025-01-01T24:00:00.000Z")
    yield from ("2025-01-01T00:00:60.000Z", "2025-01-01", "2025-01-01T00:00:00.000", "1735689600000")
    yield from ("2025-01-01T00:00:00.000+00:00", "2025-01-01T00:00:00.000+0000", "2025-01-01T02:00:00.000+02:00")
    yield from ("2025-01-01 00:00:00.000Z", "20250101T000000Z", "+002025-01-01T00:00:00Z", "٢٠٢٥-01-01T00:00:00.000Z")
    yield from ("2025-01-01T00:00:00.000Z|", "|6f1", "x|6f1", " ", "2025-01-01T00:00:00.000Z\n", "' OR 1=1 --")
    yield from ("2025-01-01T00:00:00.000Z; DROP TABLE events", "0000-01-01T00:00:00.000Z", "99999-01-01T00:00:00Z")
    yield "2025-01-01T00:00:00." + "9" * 5000 + "X"


@pytest.mark.parametrize("since", list(_nonsense()))
async def test_a_since_that_is_no_cursor_is_refused(bench: Bench, since: str) -> None:
    answer = await bench.pull(f"?since={quote(since, safe='')}&configId={bench.program}")
    assert assert_refused(answer, 400, "INVALID_CURSOR")["status"] == "error"
    await bench.assert_unharmed()


@pytest.mark.parametrize("guid", ["%FF", "6f1|6f1", "x" * 5000, "';--"])
async def test_a_cursor_of_an_event_that_cannot_exist_is_refused_or_read_by_its_time(bench: Bench, guid: str) -> None:
    answer = await bench.pull(f"?since=2025-01-01T00:00:00.000Z|{guid}&configId={bench.program}")
    if answer.status != 200:
        assert_refused(answer, 400, "INVALID_CURSOR")
    await bench.assert_unharmed()


@pytest.mark.parametrize("limit", ["0", "-1", "5001", "1.5", "ten", "1e3", "%20", "+5", "9" * 400, "٣", "0x10", "1_0"])
async def test_a_limit_that_is_no_number_from_1_to_5000_is_refused(bench: Bench, limit: str) -> None:
    answer = await bench.pull(f"?since=&configId={bench.program}&limit={quote(limit, safe='%+')}")
    assert assert_refused(answer, 400, "INVALID_LIMIT")["status"] == "error"
    await bench.assert_unharmed()


async def test_more_than_a_thousand_areas_are_refused(bench: Bench) -> None:
    areas = ",".join(f"a{number}" for number in range(1001))
    assert_refused(await bench.pull(f"?since=&configId={bench.program}&areaIds={areas}"), 400, "TOO_MANY_AREAS")
