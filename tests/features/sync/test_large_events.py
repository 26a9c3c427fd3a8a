"""What few huge events make the hub hold: pages of all kinds end with the one that fills them, and nothing is skipped.

A thousand times smaller than it is, so that it takes no time: events of 7 KiB, and pages of 16.
"""

import json
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.eventstore import log, postgres, sqlite, statements
from datacollect.eventstore.store import MOST_PAGE_BYTES
from datacollect.features.audit import queries as audit
from datacollect.features.audit import service as trail
from datacollect.features.entities import projection, walking
from datacollect.features.entities.finding import listing, scanning
from datacollect.features.history import service as history
from datacollect.features.quarantine import queries as quarantine_queries
from datacollect.features.quarantine import service as quarantine
from datacollect.features.sync import payload
from datacollect.features.sync import service as sync
from datacollect.http.hub import Hub
from tests.accounts import bearer, login, make_person
from tests.factories import make_audit_log, make_event, make_program, pull, pull_all, pull_audit, push, push_audit
from tests.statements import hot

pytestmark = pytest.mark.anyio

KIB = 1024
FULL = 3
"""So many of the events reach 16 KiB."""

BOUNDS = {
    statements: ("MOST_PAGE_BYTES",),
    sqlite: ("MOST_PAGE_BYTES",),
    postgres: ("MOST_PAGE_BYTES",),
    listing: ("MOST_LIST_BYTES",),
    scanning: ("MOST_LIST_BYTES",),
    walking: ("MOST_LIST_BYTES",),
    audit: ("MOST_PAGE_BYTES", "MOST_TOUCHING_BYTES"),
    history: ("MOST_TOLD_BYTES",),
    quarantine_queries: ("MOST_BYTES",),
    quarantine: ("MOST_BYTES_AT_ONCE",),
    projection: ("MOST_ENTITY_BYTES",),
    payload: ("MOST_KEPT_BYTES",),
    sync: ("MOST_COMPARED_BYTES",),
}


@pytest.fixture(autouse=True)
def _small(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, names in BOUNDS.items():
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name) // KIB)
    monkeypatch.setattr(hub.pages, "_page_bytes", MOST_PAGE_BYTES // KIB)


def photo(kibibytes: float, **data: Any) -> dict[str, Any]:
    return {"name": "Ana", "entityName": "individual", "area_id": "A1", "photo": "x" * int(kibibytes * KIB), **data}


@pytest.fixture
async def program(admin: AsyncClient) -> str:
    """A program with five events of 7 KiB, each of an entity of its own."""
    program = await make_program(admin)
    for number in range(5):
        answer = await push(admin, program, make_event(entity=f"e{number}", data=photo(7, age=number)))
        assert answer.status_code == 200, answer.text
    return program


async def counts(client: AsyncClient, program: str, **asked: Any) -> list[int]:
    """How many events each page has until there is none."""
    found, cursor = list[int](), ""
    while cursor is not None:
        answer = (await pull(client, program, cursor, **asked)).json()
        found.append(len(answer["events"]))
        cursor = answer["nextCursor"]
    return found


async def test_a_pull_ends_with_the_event_that_fills_it_whoever_pulls(
    admin: AsyncClient, client: AsyncClient, program: str
) -> None:
    assert await counts(admin, program, limit=2) == [2, 2, 1]
    for asked in ({}, {"limit": 1000}, {"areaIds": "A1"}):
        assert await counts(admin, program, **asked) == [FULL, 2], asked
    limited = {"tenantId": program, "role": "enumerator", "syncScopeOverride": {"areaIds": ["A1"]}}
    agent = await make_person(admin, tenantIds=[program], roleAssignments=[limited])
    client.headers.update(bearer((await login(client, agent))["token"]) | {"X-Device-Id": "tablet-07"})
    seen = await pull_all(client, program)
    assert {event["entityGuid"] for event in seen} == {f"e{number}" for number in range(5)}
    assert max(await counts(client, program)) == FULL


async def test_a_list_ends_with_the_entity_that_fills_it_and_says_where_it_goes_on(
    admin: AsyncClient, program: str
) -> None:
    for query in ({}, {"q": "ana"}, {"area": "A1"}, {"offset": "0", "sort": "guid"}):
        first = await admin.get("/api/entities", params={"configId": program, "count": "exact"} | query)
        assert (len(first.json()), first.headers["x-total-count"]) == (FULL, "5"), query
        second = await admin.get(first.headers["link"].removeprefix("<").partition(">")[0])
        assert len(second.json()) == 2 and "link" not in second.headers
        seen = {entity["guid"] for answer in (first, second) for entity in answer.json()}
        assert seen == {f"e{number}" for number in range(5)}
    without = await admin.get("/api/entities", params={"configId": program, "fields": "guid"})
    assert len(without.json()) == 5
    asked = {"configId": program, "criteria": [{"age": {"$gte": 0}}]}
    found = await admin.post("/api/entities/search", json=asked)
    rest = await admin.post("/api/entities/search", json=asked | {"cursor": found.headers["x-next-cursor"]})
    assert [len(found.json()), len(rest.json())] == [FULL, 2]


async def test_the_trail_the_history_and_an_export_go_on_behind_what_fills_them(
    admin: AsyncClient, program: str
) -> None:
    first = await pull_audit(admin, program)
    second = await pull_audit(admin, program, cursor=first.headers["x-next-cursor"])
    assert [len(first.json()), len(second.json())] == [FULL, 2]
    for number in range(3):
        update = make_event("update-individual", entity="e0", data={"photo": "y" * 7 * KIB, "n": number})
        assert (await push(admin, program, update)).status_code == 200
    told = (await admin.get("/api/entities/e0/history", params={"configId": program})).json()
    assert len(told["history"]) == FULL
    asked = {"configId": program, "cursor": told["nextCursor"]}
    rest = (await admin.get("/api/entities/e0/history", params=asked)).json()
    assert (len(rest["history"]), rest["nextCursor"]) == (1, None)
    exported = (await admin.get("/api/entities/export", params={"configId": program})).json()
    assert (len(exported["entities"]), len(exported["events"])) == (5, 8)


@pytest.mark.parametrize("signature", ["", "x" * 7 * KIB])
async def test_the_trails_rest_of_a_millisecond_is_no_more_than_there_is_room_for(
    admin: AsyncClient, hub: Hub, monkeypatch: pytest.MonkeyPatch, signature: str
) -> None:
    """Entries of members have nothing of their own: their event tells them."""
    monkeypatch.setattr(trail, "DEFAULT_PAGE", 10)
    program = await make_program(admin)
    if signature:
        logs = [make_audit_log(signature=signature, changes={}) for _ in range(200)]
        answer = await push_audit(admin, program, *logs)
    else:
        members = [{"guid": f"m{number}", "name": "M"} for number in range(199)]
        answer = await push(admin, program, make_event("create-group", data={"name": "G", "members": members}))
    assert answer.status_code == 200
    with hub.db.statements.record() as statements:
        page = await pull_audit(admin, program)
    assert len(hot(statements)) < 10
    found = [entry["guid"] for entry in page.json()]
    assert len(found) >= FULL
    while cursor := page.headers.get("x-next-cursor"):
        assert len(page.content) < 24 * KIB
        page = await pull_audit(admin, program, cursor=cursor)
        found += [entry["guid"] for entry in page.json()]
    assert len(found) == len(set(found)) == 200


async def test_what_a_device_has_rounded_is_known_up_to_a_size(admin: AsyncClient) -> None:
    """Beyond it an event is another one, as it is for who does not look: the log's turn waits meanwhile."""
    program = await make_program(admin)
    for size, known in ((0.1, 2), (1.2, 0)):
        events = [make_event(data=photo(size, national=2**53 + 1)) for _ in range(4)]
        echoes = [event | {"data": event["data"] | {"national": 2**53}} for event in events]
        assert (await push(admin, program, *events)).json()["applied"] == 4
        told = (await push(admin, program, *echoes, atomic=False)).json()
        assert [one["code"] for one in told["failed"]] == ["GUID_REUSED"] * (4 - known)


@pytest.mark.parametrize("character", [b"\0", b"\xff"], ids=repr)
async def test_what_cannot_be_decoded_is_kept_up_to_a_size_and_takes_a_letter_for_each_byte(
    admin: AsyncClient, character: bytes
) -> None:
    """A push of 49 MB became 1.4 GB of database."""
    program, event = await make_program(admin), make_event(data={"name": "NAME"})
    sent = json.dumps(event).encode().replace(b"NAME", character * 400)
    envelope = b'{"events": [%s], "atomic": false, "configId": "%s"}'
    answer = await admin.post("/api/sync/push", content=envelope % (sent, program.encode()))
    assert answer.status_code == 207, answer.text
    asked = {"configId": program}
    [row] = (await admin.get("/api/sync/quarantine", params=asked)).json()["quarantined"]
    assert len(row["event"]["asSent"]) == len(sent)
    # More than there is room for is refused as a whole, as without verdicts.
    twice = b", ".join([sent, sent])
    answer = await admin.post("/api/sync/push", content=envelope % (twice, program.encode()))
    assert (answer.status_code, [one["path"] for one in answer.json()["errors"]]) == (
        400,
        [["events", 0], ["events", 1]],
    )


async def test_what_is_refused_is_listed_in_pages_and_decided_about_in_parts(admin: AsyncClient) -> None:
    program = await make_program(admin)
    for _ in range(5):
        refused = make_event("no-such-type", data={"photo": "x" * 14 * KIB})
        assert (await push(admin, program, refused, atomic=False)).status_code == 207
    asked, ids, sizes = {"configId": program}, list[str](), list[int]()
    while True:
        page = (await admin.get("/api/sync/quarantine", params=asked)).json()
        ids += [row["id"] for row in page["quarantined"]]
        sizes.append(len(page["quarantined"]))
        if page["nextCursor"] is None:
            break
        asked["cursor"] = page["nextCursor"]
    assert (sizes, len(set(ids))) == ([2, 2, 1], 5)
    decision = {"configId": program, "ids": ids, "reason": "too large"}
    answer = await admin.post("/api/sync/quarantine/discard", json=decision)
    assert (answer.status_code, answer.json()["code"]) == (413, "QUARANTINED_TOO_LARGE")
    answer = await admin.post("/api/sync/quarantine/discard", json=decision | {"ids": ids[:4]})
    assert answer.json()["done"] == 4


@pytest.fixture
async def grown(admin: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> str:
    """A program with an entity that holds more than it might now."""
    program = await make_program(admin)
    with monkeypatch.context() as before:
        before.setattr(projection, "MOST_ENTITY_BYTES", 50 * KIB)
        answer = await push(admin, program, make_event(entity="old", data=photo(9)))
        assert answer.status_code == 200
    return program


def code_of(answer: Any) -> str:
    """Why the event was refused that refused its push."""
    return str(answer.json()["failed"][-1]["code"])


async def test_no_event_makes_an_entity_hold_more_than_it_may(admin: AsyncClient, grown: str) -> None:
    halves = [make_event("update-individual", entity="e", data={f"half{n}": "x" * 5 * KIB}) for n in range(2)]
    small = make_event("update-individual", entity="e", data={"n": 1})
    answer = await push(admin, grown, make_event(entity="e", data=photo(9)))
    assert (answer.status_code, code_of(answer)) == (422, "ENTITY_TOO_LARGE")
    # One by one, or both at once: the second of the halves has no room.
    assert (await push(admin, grown, halves[0], small)).status_code == 200
    answer = await push(admin, grown, *halves, atomic=False)
    assert [(one["code"], one["guid"]) for one in answer.json()["failed"]] == [("ENTITY_TOO_LARGE", halves[1]["guid"])]
    answer = await push(admin, grown, *[one | {"entityGuid": "f", "guid": make_event()["guid"]} for one in halves])
    assert code_of(answer) == "ENTITY_TOO_LARGE"
    many = [make_event(entity=f"m{n}", data=photo(2)) for n in range(6)]
    assert (await push(admin, grown, *many)).status_code == 200


async def test_what_is_larger_already_is_read_and_written_as_before_but_does_not_grow(
    admin: AsyncClient, grown: str
) -> None:
    asked = {"configId": grown}
    assert len((await admin.get("/api/entities/old", params=asked)).json()["data"]["photo"]) == 9 * KIB
    renamed = make_event("update-individual", entity="old", data={"name": "Eva"})
    assert (await push(admin, grown, renamed)).status_code == 200
    more = make_event("update-individual", entity="old", data={"more": "x" * KIB})
    assert code_of(await push(admin, grown, more)) == "ENTITY_TOO_LARGE"
    less = make_event("update-individual", entity="old", data={"photo": ""})
    later = make_event("update-individual", entity="old", data={"more": "x" * KIB})
    assert (await push(admin, grown, less, later)).status_code == 200


async def test_a_push_that_is_stored_in_parts_gets_the_verdicts_of_one_that_is_not(
    admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = make_event("create-group", entity="g", data={"name": "G"})
    joined = make_event("add-member", entity="g", data={"members": [{"guid": "m", "name": "M"}]})
    good = [make_event(entity=f"e{n}") for n in range(4)]
    update = make_event("update-individual", entity="e0", data={"age": 7})
    other = make_event(entity="x") | {"guid": good[0]["guid"]}
    bad = make_event("no-such-type")
    events = [
        group,
        good[0],
        bad,
        good[1],
        joined,
        good[2],
        update,
        good[3],
        good[0],
        other,
        make_event("no-such-type"),
    ]
    told, seen = [], []
    for part in (2000, 2):
        monkeypatch.setattr(log, "PART", part)
        program = await make_program(admin)
        answer = (await push(admin, program, *events, bad, atomic=True)).json()
        assert answer["code"] == "PUSH_REJECTED" and await pull_all(admin, program) == []
        told.append((answer["failed"], (await push(admin, program, *events, atomic=False)).json()))
        pulled = [event["guid"] for event in await pull_all(admin, program)]
        entities = (await admin.get("/api/entities", params={"configId": program, "sort": "guid"})).json()
        seen.append((pulled, [entity | {"lastUpdated": None} for entity in entities]))
        verified = await admin.get("/api/integrity", params={"configId": program})
        assert verified.status_code == 200, verified.text
    assert told[0] == told[1]
    assert len(told[0][1]["failed"]) == 3
    assert seen[0] == seen[1]
