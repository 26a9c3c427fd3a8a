"""What another system tells is data and nothing else, and what could not be taken in is not lost."""

from typing import Any

import pytest

from datacollect.adapters.errors import Failure
from datacollect.adapters.port import Delivery, FollowUp, FollowUpEvent, Incoming, Link, RecordType
from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId, derived_guid, new_guid
from tests.factories import make_event
from tests.features.external.exchanging import Exchange, counts
from tests.features.external.remote import DoubleAdapter, Twin

pytestmark = pytest.mark.anyio


LATE = "2035-01-01T00:00:00.000Z"
"""After whatever a pull brings."""


def told(external_id: str = "x-1", **changes: Any) -> Incoming:
    values = {"type": RecordType.INDIVIDUAL, "data": {"name": "Ana"}} | changes
    return Incoming(external_id=external_id, **values)


def is_no_change(twin: Twin, **_: Any) -> None:
    """In place of `Remote.touch`: what the hub sends has a version, and is not told back."""
    twin.version += 1


def codes(job: dict[str, Any]) -> list[str]:
    return [error["code"] for error in job["errors"] or ()]


@pytest.mark.parametrize(
    "event_type", ["delete-entity", "update-group", "grant-entitlement", "resolve-duplicate", "external-pull", ""]
)
async def test_only_events_that_make_or_change_a_record_are_believed(exchange: Exchange, event_type: str) -> None:
    await exchange.save("in-1", name="Ana")
    exchange.remote.extra = [told(guid="in-1", event_type=event_type), told("x-2", data={"name": "Ben"})]
    job = await exchange.run()
    assert codes(job) == ["EVENT_TYPE_NOT_ALLOWED"]
    assert (job["status"], counts(job)) == ("partial", (1, 1, 1, 0))
    assert (await exchange.entity("in-1"))["name"] == "Ana"
    assert len(await exchange.entities()) == 2


async def test_events_of_an_allowed_type_are_from_the_adapter_whatever_they_say(exchange: Exchange) -> None:
    exchange.remote.extra = [
        told(event_type="create-individual", event_guid=new_guid(), data={"name": "Ana", "userId": "root"})
    ]
    job = await exchange.run()
    [event] = await exchange.events()
    assert counts(job) == (0, 1, 0, 0)
    assert (event["userId"], event["syncLevel"], event["type"]) == ("double-sync", 2, "create-individual")


async def test_fields_that_only_the_hub_writes_are_left_out(exchange: Exchange) -> None:
    data = {
        "name": "Ana",
        "externalId": "other",
        "identifierType": "x",
        "_displayName": "Somebody",
        "members": [{"guid": "in-9", "name": "Made up"}],
        "memberIds": ["in-9"],
        "guid": "in-9",
        "parentId": "in-9",
        "pendingProgramEnrolments": [{"programId": 1}],
        "enrolledPrograms": [{"programId": 1}],
        "nested": {"externalId": "kept"},
        "__proto__": {"x": 1},
        "": "nothing",
    }
    exchange.remote.extra = [told(data=data)]
    await exchange.run()
    [event] = await exchange.events()
    assert event["data"] == {"name": "Ana", "nested": {"externalId": "kept"}}


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (told(data={"name": "a\0b"}), "RECORD_UNREADABLE"),
        (told(data={"name": "\ud800"}), "RECORD_UNREADABLE"),
        (told(data={"name": "x" * 300_000}), "RECORD_UNREADABLE"),
        (told(data={"when": object()}), "RECORD_UNREADABLE"),
        (told(data={f"f{n}": n for n in range(501)}), "RECORD_UNREADABLE"),
        (told(""), "INVALID_EXTERNAL_ID"),
        (told("k" * 513), "INVALID_EXTERNAL_ID"),
        (told("a\0"), "INVALID_EXTERNAL_ID"),
    ],
)
async def test_a_record_that_cannot_be_stored_is_named_and_holds_nobody_up(
    exchange: Exchange, record: Incoming, code: str
) -> None:
    exchange.remote.extra = [record, told("x-2", data={"name": "Ben"})]
    job = await exchange.run()
    assert (job["status"], codes(job)) == ("partial", [code])
    assert [entity["name"] for entity in await exchange.entities()] == ["Ben"]
    assert [lost["code"] for lost in await exchange.failures()] == [code]


async def test_each_record_with_a_key_that_cannot_be_kept_has_a_failure_of_its_own(exchange: Exchange) -> None:
    exchange.remote.extra = [told("k" * 600 + number, data={"name": number}) for number in "12"]
    for _ in range(2):
        await exchange.run()
        exchange.remote.extra = [told("k" * 600 + number, data={"name": "Changed"}) for number in "12"]
    assert [lost["code"] for lost in await exchange.failures()] == ["INVALID_EXTERNAL_ID"] * 2


async def test_a_record_is_not_taken_for_somebody_else(exchange: Exchange) -> None:
    for guid in ("in-1", "in-2"):
        await exchange.save(guid, name=guid)
    await exchange.save("hh", "group", name="Household")
    await exchange.run()
    exchange.remote.extra = [
        told("x-1", guid="in-1", data={"name": "An intruder"}),
        told("x-2", guid="hh", data={"name": "No household"}),
        told("x-3", type=RecordType.GROUP, guid="in-2", data={"name": "Nobody"}),
    ]
    job = await exchange.run()
    assert sorted(codes(job)) == ["LINK_CONFLICT", "LINK_CONFLICT", "LINK_CONFLICT"]
    assert {entity["name"] for entity in await exchange.entities()} == {"in-1", "in-2", "Household"}


async def test_a_record_of_another_type_is_refused(exchange: Exchange) -> None:
    exchange.remote.extra = [told("x-1")]
    await exchange.run()
    exchange.remote.extra = [told("x-1", type=RecordType.GROUP, data={"name": "A group now"})]
    job = await exchange.run()
    assert codes(job) == ["TYPE_CONFLICT"]
    assert [(entity["type"], entity["name"]) for entity in await exchange.entities()] == [("individual", "Ana")]


async def test_of_two_records_that_say_they_are_the_same_one_the_first_is_it(exchange: Exchange) -> None:
    guid = new_guid()
    exchange.remote.extra = [told("x-1", guid=guid), told("x-2", guid=guid, data={"name": "Ben"})]
    job = await exchange.run()
    assert (codes(job), counts(job)) == (["LINK_CONFLICT"], (0, 1, 1, 0))
    entity = await exchange.entity(guid)
    assert (entity["name"], entity["externalId"]) == ("Ana", "x-1")
    assert len(await exchange.entities()) == 1


async def test_a_record_that_names_the_guid_of_one_told_beside_it_is_not_taken_for_it(exchange: Exchange) -> None:
    await exchange.run()
    async with exchange.hub.db.reading(system_scope(TenantId(exchange.program))) as view:
        [[system]] = await view.fetch(f"SELECT system FROM external_current WHERE tenant_id = '{exchange.program}'")
    guid = derived_guid(f"{exchange.program}:{system}", "external-entity", "x-1")
    exchange.remote.extra = [told("x-1"), told("x-2", guid=guid, data={"name": "Ben"})]
    job = await exchange.run()
    assert (codes(job), counts(job)) == (["LINK_CONFLICT"], (0, 1, 1, 0))
    assert [(one["guid"], one["name"], one["externalId"]) for one in await exchange.entities()] == [
        (guid, "Ana", "x-1")
    ]


async def test_a_key_of_somebody_elses_twin_is_not_taken(exchange: Exchange) -> None:
    exchange.remote.keeps_guids = False
    await exchange.save("in-1", name="Ana")
    await exchange.run()
    [twin] = exchange.remote.twins.values()
    await exchange.save("in-2", name="Ben")
    exchange.remote.twins["r-2"] = exchange.remote.twins[twin.key]
    exchange.remote.make = lambda *_, **__: twin  # type: ignore[method-assign]
    job = await exchange.run()
    assert codes(job) == ["LINK_TAKEN"]
    assert (await exchange.entity("in-1"))["externalId"] == twin.key
    assert "externalId" not in await exchange.entity("in-2")


async def test_dead_letters_are_tried_again_when_somebody_says_so_or_when_they_change(exchange: Exchange) -> None:
    exchange.remote.refusals["in-1"] = Failure(code="REJECTED", message="It is refused.", retryable=False)
    exchange.remote.refusals["in-2"] = Failure(code="BUSY", message="Later.", retryable=True)
    await exchange.save("in-1", name="Ana")
    await exchange.save("in-2", name="Ben")
    await exchange.run()
    second = await exchange.run()
    assert codes(second) == ["BUSY"]
    lost = {one["entityGuid"]: one for one in await exchange.failures()}
    assert (lost["in-1"]["willRetry"], lost["in-1"]["tries"]) == (False, 1)
    assert (lost["in-2"]["willRetry"], lost["in-2"]["tries"]) == (True, 2)

    answer = await exchange.admin.post("/api/sync/failures/retry", params={"configId": exchange.program})
    assert answer.json() == {"status": "success", "records": 1}
    assert sorted(codes(await exchange.run())) == ["BUSY", "REJECTED"]
    await exchange.save("in-1", name="Ana Maria")
    assert sorted(codes(await exchange.run())) == ["BUSY", "REJECTED"]
    exchange.remote.refusals.clear()
    await exchange.save("in-1", name="Ana Lucia")
    assert counts(await exchange.run()) == (2, 0, 0, 0)
    assert await exchange.failures() == []


async def test_failures_are_listed_in_pages_and_by_run(exchange: Exchange) -> None:
    for number in range(5):
        guid = f"in-{number}"
        exchange.remote.refusals[guid] = Failure(code="REJECTED", message="It is refused.", retryable=False)
        await exchange.save(guid, name="Secret Name")
    exchange.remote.extra = [told("")]
    job = await exchange.run()
    cursor, seen = None, []
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await exchange.admin.get(f"/api/sync/external/{job['jobId']}/errors", params=query)).json()
        seen += page["records"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert [one["direction"] for one in seen] == ["push"] * 5 + ["pull"]
    assert [one["entityGuid"] for one in seen[:5]] == [f"in-{number}" for number in range(5)]
    assert "Secret Name" not in str(seen)
    wrong = await exchange.admin.get(f"/api/sync/external/{job['jobId']}/errors", params={"cursor": "x"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "INVALID_SYNC_LIST")


async def test_a_member_that_comes_later_is_joined_then(exchange: Exchange) -> None:
    exchange.remote.extra = [
        told("g-1", type=RecordType.GROUP, data={"name": "Household"}, members=["x-1", "x-2"]),
        told("x-1", data={"name": "Ana"}),
    ]
    first = await exchange.run()
    [group] = [entity for entity in await exchange.entities() if entity["type"] == "group"]
    assert (first["status"], codes(first)) == ("success", ["MEMBER_UNKNOWN"])
    assert len(group["memberIds"]) == 1
    exchange.remote.extra = [told("x-2", data={"name": "Ben"})]
    await exchange.run()
    await exchange.run()
    [group] = [entity for entity in await exchange.entities() if entity["type"] == "group"]
    assert len(group["memberIds"]) == 2
    assert await exchange.failures() == []


@pytest.mark.parametrize("tells_back", [True, False])
async def test_a_member_that_is_not_known_here_stays_in_its_group_there(exchange: Exchange, tells_back: bool) -> None:
    remote = exchange.remote
    await exchange.save("hh", "group", name="Household")
    await exchange.run()
    group = remote.find("hh")
    assert group
    group.members = ["r-99"]
    remote.touch(group)
    assert codes(await exchange.run()) == ["MEMBER_UNKNOWN"]
    if not tells_back:
        remote.touch = is_no_change  # type: ignore[method-assign]
    for name in ("One household", "Another household"):
        await exchange.save("hh", "group", name=name)
        await exchange.run()
        assert (group.data["name"], group.members) == (name, ["r-99"])


async def test_a_member_that_is_not_known_here_stays_when_a_group_is_sent_twice_in_a_run(exchange: Exchange) -> None:
    remote = exchange.remote
    await exchange.save("hh", "group", name="Household")
    await exchange.run()
    group = remote.find("hh")
    assert group
    group.members = ["r-99"]
    remote.touch(group)
    await exchange.run()
    await exchange.save("hh-2", "group", name="Part of it")
    listed = [{"guid": "hh-2", "name": "Part of it", "type": "group"}]
    await exchange.push(make_event("add-member", entity="hh", data={"members": listed}))
    remote.calls.clear()
    await exchange.run()
    part = remote.find("hh-2")
    assert part
    assert remote.calls.count("record hh") == 2, "its part had no twin at first"
    assert group.members == sorted([part.key, "r-99"])


async def test_a_member_that_is_not_known_here_is_missed_also_where_nothing_else_is_new(exchange: Exchange) -> None:
    remote, make = exchange.remote, exchange.remote.make
    # Somebody joins as soon as it is there, in a system whose versions do not tell of members.
    remote.make = lambda data, **more: make(data, **more | {"members": ["x-1"]})  # type: ignore[method-assign]
    await exchange.save("hh", "group", name="Household")
    first = await exchange.run()
    remote.extra = [told("x-1")]
    await exchange.run()
    await exchange.run()
    assert codes(first) == ["MEMBER_UNKNOWN"]
    assert len((await exchange.entity("hh"))["memberIds"]) == 1
    assert await exchange.failures() == []


async def test_a_group_that_waits_for_a_member_keeps_what_has_become_of_it(exchange: Exchange) -> None:
    remote = exchange.remote
    household = told("g-1", type=RecordType.GROUP, data={"name": "Household"}, members=["x-1", "x-9"], version="1")
    remote.extra = [told("x-1", data={"name": "Ana"}), household]
    await exchange.run()
    [group] = [entity for entity in await exchange.entities() if entity["type"] == "group"]
    remote.twins["g-1"] = twin = Twin("g-1", "group", {"name": "Household"}, ["x-1", "x-9"], None, 1, 0)
    remote.touch = is_no_change  # type: ignore[method-assign]

    await exchange.save("in-2", name="Ben")
    for event_type, data in (
        ("add-member", {"members": [{"guid": "in-2", "name": "Ben", "type": "individual"}]}),
        ("remove-member", {"memberId": group["memberIds"][0]}),
        ("update-group", {"name": "New name"}),
    ):
        await exchange.push(make_event(event_type, entity=group["guid"], data=data, timestamp=LATE))
    # It tells what it got in words of its own; by its version that is no change.
    echo = {"data": {"name": "NEW NAME"}, "members": ["r-1", "x-9"], "version": "2"}
    remote.extra = [told("g-1", type=RecordType.GROUP, **echo)]
    assert counts(await exchange.run()) == (2, 0, 0, 0)
    for _ in range(2):
        entity = await exchange.entity(group["guid"])
        assert (entity["name"], entity["memberIds"]) == ("New name", ["in-2"])
        assert (twin.data["name"], twin.members) == ("New name", ["r-1", "x-9"])
        job = await exchange.run()
        assert (job["status"], counts(job)) == ("success", (0, 0, 0, 0))
    assert [event["type"] for event in await exchange.events() if event["userId"] == "double-sync"] == [
        "create-individual",
        "create-group",
        "add-member",
    ]


async def test_a_group_that_waits_for_a_member_still_knows_who_else_is_in_it(exchange: Exchange) -> None:
    group = {"type": RecordType.GROUP, "data": {"name": "Household"}}
    exchange.remote.extra = [told("x-1"), told("g-1", members=["x-1", "x-9"], version="1", **group)]
    await exchange.run()
    await exchange.run()
    exchange.remote.extra = [told("g-1", members=["x-9"], version="2", **group)]
    await exchange.run()
    [left] = [entity["memberIds"] for entity in await exchange.entities() if entity["type"] == "group"]
    assert left == []


async def test_a_record_that_the_adapter_cannot_read_is_listed_once_until_it_can(exchange: Exchange) -> None:
    broken = Failure(code="UNREADABLE", message="It cannot be read.", retryable=False, external_id="x-1")
    for name in ("Ben", "Eva"):
        exchange.remote.unreadable = [broken]
        exchange.remote.make({"name": name, "entityName": "individual"})
        await exchange.run()
    assert [one["code"] for one in await exchange.failures()] == ["UNREADABLE"]
    exchange.remote.unreadable, exchange.remote.extra = [], [told("x-1")]
    await exchange.run()
    assert await exchange.failures() == []


async def test_two_records_that_end_as_one_registrant_there_stay_two_and_hold_nothing_up(exchange: Exchange) -> None:
    remote = exchange.remote
    remote.opens, remote.keeps_guids = True, False
    for guid in ("in-1", "in-2"):
        await exchange.save(guid, name=guid)
        remote.follow_ups[guid] = FollowUp(guid=guid, state={}, is_open=False, link=Link(external_id="r-9"))
    job = await exchange.run()
    assert (job["phase"], codes(job)) == ("completed", ["LINK_TAKEN"])
    assert [(await exchange.entity(guid))["externalId"] for guid in ("in-1", "in-2")] == ["r-9", "r-2"]
    remote.opens = False
    assert (await exchange.run())["status"] == "success"


async def test_what_ends_later_there_becomes_an_event_once(exchange: Exchange) -> None:
    remote = exchange.remote
    remote.opens, remote.states["in-1"] = True, {"reference": "CR/1"}
    await exchange.save("in-1", name="Ana")
    enrol = make_event("enrol-in-program", entity="in-1", data={"programId": 7, "programName": "Cash"})
    await exchange.push(enrol)
    applied = FollowUpEvent(
        type="program-enrolment-applied",
        data={"programId": 7, "appliedAt": "2026-01-01T00:00:00.000Z", "crId": "CR/1", "crName": "CR/1"},
        key="CR/1 applied",
    )
    forged = FollowUpEvent(type="delete-entity", data={"reason": "x"}, key="forged")
    await exchange.run()
    remote.opens = False
    remote.follow_ups["in-1"] = FollowUp(
        guid="in-1",
        state={"reference": "CR/1", "status": "applied"},
        is_open=False,
        link=Link(external_id="r-1"),
        events=[applied, forged],
        failures=[Failure(code="CR_REJECTED", message="Another one.", retryable=False)],
    )
    job = await exchange.run()
    again = await exchange.run()
    assert sorted(codes(job)) == ["CR_REJECTED", "EVENT_TYPE_NOT_ALLOWED"]
    assert job["pulled"] == 1
    types = [event["type"] for event in await exchange.events()]
    assert types.count("program-enrolment-applied") == 1 and "delete-entity" not in types
    assert [one["programId"] for one in (await exchange.entity("in-1"))["data"]["enrolledPrograms"]] == [7]
    assert counts(again) == (0, 0, 0, 0)


async def test_what_a_device_saves_while_something_older_is_asked_for_is_not_overwritten_by_that(
    exchange: Exchange,
) -> None:
    remote = exchange.remote
    await exchange.save("in-1", phone="1")
    await exchange.run()
    remote.opens, remote.delivery = True, Delivery.WAITING
    remote.follow_ups["in-1"] = FollowUp(guid="in-1", state={}, is_open=True, is_requested=True)
    remote.on_follow = lambda: exchange.save("in-1", phone="3")
    await exchange.save("in-1", phone="2")
    await exchange.run()
    remote.on_follow = None
    remote.follow_ups["in-1"] = FollowUp(guid="in-1", state={}, is_open=False, is_done=True)
    [twin] = remote.twins
    remote.change(twin, at=parse_timestamp(LATE), phone="2")
    await exchange.run()
    assert (await exchange.entity("in-1"))["data"]["phone"] == "3"


async def test_a_version_that_no_database_keeps_holds_nothing_up(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DoubleAdapter, "_link", lambda _, twin: Link(external_id=twin.key, version="\0"))
    await exchange.save("in-1", name="Eva")
    exchange.remote.extra = [told("x-1", version="3\0"), told("x-2", data={"name": "Ben"})]
    job = await exchange.run()
    assert (job["status"], counts(job)) == ("success", (1, 2, 0, 0))
    assert {one["name"] for one in await exchange.entities()} == {"Ana", "Ben", "Eva"}


async def test_a_time_that_cannot_be_is_now(exchange: Exchange) -> None:
    exchange.remote.extra = [told("x-1", occurred_at=Millis(10**18)), told("x-2", occurred_at=Millis(-5))]
    job = await exchange.run()
    assert counts(job) == (0, 2, 0, 0)
    assert all(event["timestamp"].startswith("20") for event in await exchange.events())
