"""Pulls that are served from sealed segments, compressed, or not sent again: through HTTP, on both engines."""

import gzip
import itertools
import json
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.eventstore.segments import SIZE
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.testing.clock import TurnableClock
from tests.accounts import login, make_person
from tests.conftest import asgi_client
from tests.factories import make_config, make_event, make_program, pull, pull_all, push
from tests.statements import hot

pytestmark = pytest.mark.anyio

_times = itertools.count(1_700_000_000_000)


def some_events(count: int, **data: Any) -> list[dict[str, Any]]:
    return [
        make_event(
            timestamp=format_timestamp(Millis(next(_times))),
            data={"name": f"Zoë {index}", "entityName": "individual", **data},
        )
        for index in range(count)
    ]


async def fill(admin: AsyncClient, hub: Hub, program: str, events: Sequence[dict[str, Any]]) -> None:
    for begin in range(0, len(events), 400):
        assert (await push(admin, program, *events[begin : begin + 400])).status_code == 200
    await hub.sealer.settle()


async def raw(client: AsyncClient, program: str, encoding: str, **parameters: Any) -> Any:
    headers = {"Accept-Encoding": encoding, **parameters.pop("headers", {})}
    query = {"configId": program, "since": ""} | parameters
    async with client.stream("GET", "/api/sync/pull", params=query, headers=headers) as answer:
        pieces = [piece async for piece in answer.aiter_raw()]
    return answer.status_code, answer.headers, b"".join(pieces)


async def test_pages_are_the_same_compressed_and_not_sealed_and_not(admin: AsyncClient, hub: Hub) -> None:
    program, events = await make_program(admin), some_events(2 * SIZE + 20)
    for begin in range(0, len(events), 400):
        await push(admin, program, *events[begin : begin + 400])
    for limit in ("", "500", "1000", "1003", "5000"):
        _, _, sent = await raw(admin, program, "identity", **({"limit": limit} if limit else {}))
        await hub.sealer.settle()
        for _ in range(2):
            status, headers, again = await raw(admin, program, "identity", **({"limit": limit} if limit else {}))
            assert (status, again) == (200, sent)
            assert "content-encoding" not in headers
            status, headers, packed = await raw(admin, program, "gzip", **({"limit": limit} if limit else {}))
            assert (status, headers["content-encoding"], gzip.decompress(packed)) == (200, "gzip", sent)
            assert headers["content-length"] == str(len(packed))
            assert "Accept-Encoding" in headers["vary"]
    got = await pull_all(admin, program)
    assert [event["guid"] for event in got] == [event["guid"] for event in events]


async def test_a_walk_by_ten_is_served_from_memory_after_its_second_page_of_each_segment(
    admin: AsyncClient, hub: Hub, clock: TurnableClock
) -> None:
    program = await make_program(admin)
    await fill(admin, hub, program, some_events(SIZE + 5))
    cursor, cursors, counts = "", [], list[int]()
    while cursor is not None:
        cursors.append(cursor)
        with hub.db.statements.record() as statements:
            cursor = (await pull(admin, program, cursor)).json()["nextCursor"]
        counts.append(len(hot(statements)))
    # From the beginning; then the first touch; then the segment is fetched; then it is there, and so is where the reader
    # stands, for a second. The tail is the table's.
    assert (counts[:3], counts[-1], len(counts)) == ([1, 2, 2], 2, 51)
    assert sum(counts[3:-1]) <= 9, "none, on a machine that does nothing else; one would be 47"
    clock.turn(seconds=1)
    with hub.db.statements.record() as statements:
        await pull(admin, program, cursors[10])
    assert len(hot(statements)) == 1  # whether all is as it was


async def test_a_large_page_is_two_statements_and_one_more_for_what_is_not_sealed(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await fill(admin, hub, program, some_events(SIZE + 5))
    for expected in (3, 2):
        with hub.db.statements.record() as statements:
            assert len((await pull(admin, program, limit=1000)).json()["events"]) == SIZE + 5
        assert len(hot(statements)) == expected


async def test_who_has_a_full_page_is_told_so(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await fill(admin, hub, program, some_events(SIZE + 25))
    tags = set()
    for encoding, limit in itertools.product(("gzip", "identity"), ("10", "20", "500")):
        status, headers, _ = await raw(admin, program, encoding, limit=limit)
        tag = headers["etag"]
        assert (status, headers["cache-control"]) == (200, "no-store")
        assert not tag.startswith("W/")
        tags.add(tag)
        for named in (tag, f'"other", W/{tag}'):
            status, headers, body = await raw(admin, program, encoding, limit=limit, headers={"If-None-Match": named})
            assert (status, headers["etag"], body) == (304, tag, b"")
        status, _, _ = await raw(admin, program, encoding, limit=limit, headers={"If-None-Match": '"other"'})
        assert status == 200
    assert len(tags) == 6


async def test_a_page_that_is_not_full_has_no_tag(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await push(admin, program, *some_events(3))
    _, headers, _ = await raw(admin, program, "gzip")
    assert "etag" not in headers


async def test_a_tag_of_somebody_elses_page_brings_the_callers_own(admin: AsyncClient, hub: Hub) -> None:
    ours, theirs = [await make_program(admin) for _ in range(2)]
    for program in (ours, theirs):
        await push(admin, program, *some_events(12))
    _, headers, _ = await raw(admin, ours, "gzip")
    status, _, body = await raw(admin, theirs, "gzip", headers={"If-None-Match": headers["etag"]})
    assert status == 200
    assert b'"events"' in (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)


async def test_who_may_not_read_gets_nothing_by_a_tag(app: FastAPI, admin: AsyncClient, hub: Hub) -> None:
    ours, theirs = [await make_program(admin) for _ in range(2)]
    await push(admin, theirs, *some_events(12))
    _, headers, _ = await raw(admin, theirs, "identity")
    assignment = {"tenantId": ours, "role": "enumerator"}
    person = await make_person(admin, tenantIds=[ours], roleAssignments=[assignment])
    async with asgi_client(app, (await login(admin, person))["token"]) as stranger:
        status, _, _ = await raw(stranger, theirs, "identity", headers={"If-None-Match": headers["etag"]})
    assert status == 403


async def test_a_limited_reader_gets_nothing_from_segments(app: FastAPI, admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    inside, outside = some_events(3, area_id="A1"), some_events(SIZE, area_id="B1")
    await fill(admin, hub, program, [*outside[: SIZE // 2], *inside, *outside[SIZE // 2 :]])
    await pull(admin, program, limit=1000)
    override = {"tenantId": program, "role": "enumerator", "syncScopeOverride": {"areaIds": ["A1"]}}
    person = await make_person(admin, tenantIds=[program], roleAssignments=[override])
    async with asgi_client(app, (await login(admin, person))["token"]) as limited:
        seen = [event["entityGuid"] for event in await _everything(limited, program)]
    assert set(seen) == {event["entityGuid"] for event in inside}


async def _everything(client: AsyncClient, program: str) -> list[dict[str, Any]]:
    events, cursor = [], ""
    while cursor is not None:
        answer = await client.get(
            "/api/sync/pull",
            params={"configId": program, "since": cursor, "limit": 500},
            headers={"X-Device-Id": "d-1"},
        )
        assert answer.status_code == 200, answer.text
        events += answer.json()["events"]
        cursor = answer.json()["nextCursor"]
    return events


async def test_a_program_made_anew_under_the_id_of_a_purged_one_gives_its_own_events_only(
    admin: AsyncClient, hub: Hub
) -> None:
    program = f"again-{uuid.uuid4().hex[:8]}"
    lives = []
    for life in ("first", "second"):
        assert (await admin.post("/api/apps", json=make_config(program))).status_code == 200
        events = some_events(SIZE, life=life)
        await fill(admin, hub, program, events)
        for limit in (1000, 10, 10, 10):
            answer = await pull(admin, program, limit=limit)
            assert {event["data"]["life"] for event in answer.json()["events"]} == {life}
        lives.append([event["guid"] for event in events])
        assert [event["guid"] for event in await pull_all(admin, program)] == lives[-1]
        assert (await admin.delete(f"/api/apps/{program}")).status_code == 200
        answer = await admin.delete(f"/api/apps/{program}/purge")
        while not answer.json()["finished"]:
            answer = await admin.delete(f"/api/apps/{program}/purge")
    assert not set(lives[0]) & set(lives[1])


async def test_duplicates_are_told_behind_sealed_events_too(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    await fill(admin, hub, program, some_events(SIZE))
    _, _, body = await raw(admin, program, "gzip", limit="500")
    document = json.loads(gzip.decompress(body))
    assert list(document) == ["events", "nextCursor", "scope"]
    assert document["nextCursor"].endswith(document["events"][-1]["guid"])
