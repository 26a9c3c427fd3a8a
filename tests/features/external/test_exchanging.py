"""What goes there, what comes here, and that nothing does so twice."""

from typing import Any

import pytest

from datacollect.adapters.errors import Failure
from datacollect.adapters.port import Incoming, RecordType
from datacollect.features.external.pushing import Place, Sweep, announce, next_batch
from datacollect.features.external.queries import Marks
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.clock import TurnableClock
from tests.factories import make_event
from tests.features.external.exchanging import Exchange, counts

pytestmark = pytest.mark.anyio

REFUSED = Failure(code="REFUSED", message="It is refused.", retryable=True)


async def test_what_was_saved_here_arrives_there_once(exchange: Exchange) -> None:
    for number in range(9):
        await exchange.save(f"in-{number}", name=f"Person {number}")

    first, second = await exchange.run(), await exchange.run()

    assert (first["status"], first["phase"], counts(first)) == ("success", "completed", (9, 0, 0, 0))
    assert (second["status"], counts(second)) == ("success", (0, 0, 0, 0))
    assert sorted(twin.data["name"] for twin in exchange.remote.live.values()) == [f"Person {n}" for n in range(9)]
    assert len(await exchange.events()) == 9


async def test_what_was_handed_over_and_never_answered_may_have_been_told_as_late_as_now(exchange: Exchange) -> None:
    """An adapter may wait, or tell of others first: a hub that was killed after that made the record twice."""
    await exchange.save("in-1", name="Lan")
    scope, handed = system_scope(TenantId(exchange.program)), exchange.hub.clock.now()

    async def told_at(seconds: int) -> Millis | None:
        async with exchange.hub.db.reading(scope, in_order=True) as view:
            batch = await next_batch(
                view,
                scope,
                "double",
                Marks({}, None),
                Place(through=9, sweep=Sweep.WALK),
                run_id=1,
                at_once=1,
                now=Millis(handed + 1000 * seconds),
            )
        if not seconds:
            async with exchange.hub.db.transaction(scope) as tx:
                await announce(tx, scope, "double", batch)
        [offer] = batch.offers
        return offer.outgoing.told_at

    assert [await told_at(seconds) for seconds in (0, 140, 3600)] == [None, handed + 140_000, handed + 300_000]


async def test_what_was_entered_there_arrives_here_once(exchange: Exchange) -> None:
    for number in range(7):
        exchange.remote.make({"name": f"Person {number}", "entityName": "individual"})

    first, second = await exchange.run(), await exchange.run()

    assert (first["status"], counts(first)) == ("success", (0, 7, 0, 0))
    assert (second["status"], counts(second)) == ("success", (0, 0, 0, 0))
    assert sorted(entity["name"] for entity in await exchange.entities()) == [f"Person {n}" for n in range(7)]
    events = await exchange.events()
    assert {(event["type"], event["userId"], event["syncLevel"]) for event in events} == {
        ("create-individual", "double-sync", 2)
    }
    assert len(events) == 7


async def test_members_and_deletions_travel_both_ways(exchange: Exchange) -> None:
    remote = exchange.remote
    for guid in ("in-1", "in-2"):
        await exchange.save(guid, name=guid)
    listed = [{"guid": "in-1", "name": "in-1", "type": "individual"}]
    await exchange.push(make_event("create-group", entity="hh", data={"name": "Household", "members": listed}))
    await exchange.run()
    group, first, second = (remote.find(guid) for guid in ("hh", "in-1", "in-2"))
    assert group and first and second
    assert group.members == [first.key]

    group.members = [second.key]
    remote.touch(group)
    first.is_gone = True
    remote.touch(first)
    pulled = await exchange.run()
    assert (pulled["status"], counts(pulled)) == ("success", (0, 2, 0, 0))
    assert (await exchange.entity("hh"))["memberIds"] == ["in-2"]
    assert await exchange.entity("in-1") is None

    await exchange.push(make_event("remove-member", entity="hh", data={"memberId": "in-2"}))
    await exchange.push(make_event("delete-entity", entity="in-2", data={"by": "us"}))
    pushed = await exchange.run()
    assert counts(pushed) == (2, 0, 0, 0)
    assert (group.members, second.is_gone) == ([], True)
    assert counts(await exchange.run()) == (0, 0, 0, 0)


async def test_a_group_that_ends_there_leaves_its_members_here(exchange: Exchange) -> None:
    await exchange.save("in-1", name="Ana")
    listed = [{"guid": "in-1", "name": "Ana", "type": "individual"}]
    await exchange.push(make_event("create-group", entity="hh", data={"name": "Household", "members": listed}))
    await exchange.run()
    group = exchange.remote.find("hh")
    assert group
    group.is_gone = True
    exchange.remote.touch(group)
    await exchange.run()
    assert await exchange.entity("hh") is None
    assert (await exchange.entity("in-1"))["name"] == "Ana"
    assert counts(await exchange.run()) == (0, 0, 0, 0)


async def test_a_group_within_a_group_is_told_once_its_key_is_known(exchange: Exchange) -> None:
    await exchange.save("a-village", "group", name="Village")
    await exchange.save("b-household", "group", name="Household")
    listed = [{"guid": "b-household", "name": "Household", "type": "group"}]
    await exchange.push(make_event("add-member", entity="a-village", data={"members": listed}))
    exchange.remote.page_size = 50
    first = await exchange.run()
    village, household = exchange.remote.find("a-village"), exchange.remote.find("b-household")
    assert village and household
    assert village.members == [household.key]
    assert first["status"] == "success"
    assert counts(await exchange.run()) == (0, 0, 0, 0)


async def test_only_what_has_changed_there_is_written_here(exchange: Exchange) -> None:
    """A record that changed in one field does not take back an edit of another one that has not arrived yet."""
    await exchange.save("in-1", name="Ana", phone="1", village="A")
    await exchange.run()
    twin = exchange.remote.find("in-1")
    assert twin
    exchange.remote.change(twin.key, village="B")
    exchange.remote.refusals["in-1"] = REFUSED
    await exchange.save("in-1", phone="2")
    await exchange.run()
    data = (await exchange.entity("in-1"))["data"]
    assert (data["phone"], data["village"]) == ("2", "B")
    [event] = [event for event in await exchange.events() if event["userId"] == "double-sync"]
    assert event["data"] == {"village": "B"}

    exchange.remote.refusals.clear()
    await exchange.run()
    assert (twin.data["phone"], twin.data["village"]) == ("2", "B")


async def test_a_later_edit_here_wins_its_field_and_goes_there(exchange: Exchange, clock: TurnableClock) -> None:
    await exchange.save("in-1", name="Ana", phone="1")
    await exchange.run()
    twin = exchange.remote.find("in-1")
    assert twin
    now = clock.now()
    later = format_timestamp(Millis(now - 1000))
    edit = make_event("update-individual", entity="in-1", data={"phone": "ours"}, timestamp=later)
    await exchange.push(edit)
    exchange.remote.change(twin.key, phone="theirs", at=now - 60_000)
    first = await exchange.run()
    second = await exchange.run()
    conflicts = (await exchange.admin.get("/api/conflicts", params={"configId": exchange.program})).json()
    assert (await exchange.entity("in-1"))["data"]["phone"] == twin.data["phone"] == "ours"
    assert [error["code"] for error in first["errors"]] == ["CONFLICT"]
    assert (second["status"], counts(second)) == ("success", (1, 0, 0, 0))
    assert len(conflicts["conflicts"]) == 1
    assert counts(await exchange.run()) == (0, 0, 0, 0)


async def save_now(exchange: Exchange, clock: TurnableClock, **data: Any) -> None:
    timestamp = format_timestamp(clock.now())
    await exchange.push(make_event("update-individual", entity="in-1", data=data, timestamp=timestamp))


async def test_what_is_edited_there_after_both_agreed_counts_also_by_a_clock_that_is_behind(
    exchange: Exchange, clock: TurnableClock
) -> None:
    """Only of what was edited here too do the clocks decide."""
    await save_now(exchange, clock, name="Ana", phone="1", village="A")
    await exchange.run()
    [twin] = exchange.remote.twins.values()
    clock.turn(seconds=60)
    await save_now(exchange, clock, village="ours")
    exchange.remote.refusals["in-1"] = REFUSED
    clock.turn(seconds=60)
    exchange.remote.change(twin.key, phone="2", village="theirs", at=clock.now() - 600_000)
    await exchange.run()
    exchange.remote.refusals.clear()
    await exchange.run()
    data = (await exchange.entity("in-1"))["data"]
    assert (data["phone"], data["village"]) == (twin.data["phone"], twin.data["village"]) == ("2", "ours")
    assert counts(await exchange.run()) == (0, 0, 0, 0)


async def test_what_is_edited_there_counts_also_where_the_hub_s_clock_has_been_set_back_since(
    exchange: Exchange, clock: TurnableClock
) -> None:
    await save_now(exchange, clock, name="Ana", phone="1")
    await exchange.run()
    [twin] = exchange.remote.twins.values()
    clock.turn(seconds=-600)
    exchange.remote.change(twin.key, phone="2", at=clock.now())
    for _ in range(2):
        await exchange.run()
        assert (await exchange.entity("in-1"))["data"]["phone"] == twin.data["phone"] == "2"
    assert counts(await exchange.run()) == (0, 0, 0, 0)


async def test_an_event_from_before_both_agreed_does_not_count_as_later(
    exchange: Exchange, clock: TurnableClock
) -> None:
    """There are systems that tell events instead of what they hold."""
    await save_now(exchange, clock, name="Ana", phone="1")
    await exchange.run()
    [twin] = exchange.remote.twins.values()
    exchange.remote.extra.append(
        Incoming(
            external_id=twin.key,
            guid="in-1",
            type=RecordType.INDIVIDUAL,
            data={"phone": "0"},
            occurred_at=Millis(clock.now() - 600_000),
            event_type="update-individual",
            event_guid="e-1",
        )
    )
    await exchange.run()
    assert (await exchange.entity("in-1"))["data"]["phone"] == "1"


async def test_what_is_edited_while_a_run_is_under_way_is_the_next_ones(exchange: Exchange) -> None:
    await exchange.save("in-1", name="Ana")

    async def edit() -> None:
        exchange.remote.on_push = None
        await exchange.save("in-1", name="Ana Maria")

    exchange.remote.on_push = edit
    await exchange.run()
    twin = exchange.remote.find("in-1")
    assert twin and twin.data["name"] == "Ana"
    assert counts(await exchange.run()) == (1, 0, 0, 0)
    assert twin.data["name"] == "Ana Maria"


@pytest.mark.parametrize("tells_versions", [True, False])
async def test_an_own_record_that_is_told_differently_stays_as_it_is(exchange: Exchange, tells_versions: bool) -> None:
    exchange.remote.tells_versions = tells_versions
    await exchange.save("in-1", name="Ana", gender="F")
    job = await exchange.run()
    assert counts(job) == (1, 0, 0, 0)
    assert len(await exchange.events()) == 1


async def test_records_without_a_key_there_go_once(exchange: Exchange) -> None:
    """As with webhooks: nothing comes back that would say what has become of them."""
    exchange.remote.skips = {"record"}
    await exchange.save("in-1", name="Ana")
    await exchange.save("re-1", "record", name="A visit")
    assert counts(await exchange.run()) == (1, 0, 0, 1)
    assert counts(await exchange.run()) == (0, 0, 0, 0)


async def test_an_entity_is_shown_with_its_key_there_and_found_by_it(exchange: Exchange) -> None:
    await exchange.save("in-1", name="Ana")
    await exchange.save("in-2", name="Ben")
    before = await exchange.entity("in-1")
    await exchange.run()
    twin = exchange.remote.find("in-1")
    assert twin
    after = await exchange.entity("in-1")
    of_program = {"configId": exchange.program}
    listed = (await exchange.admin.get("/api/entities", params=of_program | {"externalId": twin.key})).json()
    criteria = {"criteria": [{"externalId": twin.key}], "configId": exchange.program}
    found = (await exchange.admin.post("/api/entities/search", json=criteria)).json()
    nothing = (await exchange.admin.get("/api/entities", params=of_program | {"externalId": "r-99"})).json()
    picked = (await exchange.admin.get("/api/entities", params=of_program | {"fields": "guid,externalId"})).json()

    assert "externalId" not in before and "externalId" not in before["data"]
    assert after["externalId"] == after["data"]["externalId"] == twin.key
    assert [entity["guid"] for entity in listed] == [entity["guid"] for entity in found] == ["in-1"]
    assert nothing == []
    assert {one["guid"]: one["externalId"] for one in picked}["in-1"] == twin.key
    assert all("externalId" not in event["data"] for event in await exchange.events())
