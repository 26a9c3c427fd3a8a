"""Twins of entities that are merged, deleted and restored, on either side, and of members who join and leave there."""

import pytest

from tests.factories import make_event
from tests.features.external.exchanging import Exchange, counts

pytestmark = pytest.mark.anyio


async def test_a_change_there_reaches_the_one_to_whom_the_record_was_handed_over(exchange: Exchange) -> None:
    twin = exchange.remote.make({"name": "Ana", "entityName": "individual", "phone": "1"})
    await exchange.run()
    [merged] = await exchange.entities()
    await exchange.save("in-1", name="Ana")
    await exchange.merge(merged["guid"], "in-1")
    exchange.remote.change(twin.key, phone="2")
    for _ in range(2):
        await exchange.run()
    assert (await exchange.entity("in-1"))["data"]["phone"] == twin.data["phone"] == "2"


@pytest.mark.parametrize("there", [{"r-1", "r-2"}, {"r-1"}, {"r-2"}, set()])
async def test_who_joins_or_leaves_there_does_so_here_also_where_versions_do_not_tell_of_members(
    exchange: Exchange, there: set[str]
) -> None:
    remote, make = exchange.remote, exchange.remote.make
    for guid in ("in-1", "in-2"):
        await exchange.save(guid, name=guid)
    await exchange.run()
    # Somebody moves people as soon as the group is there.
    remote.make = lambda data, **more: make(data, **more | {"members": sorted(there)})  # type: ignore[method-assign]
    listed = [{"guid": "in-1", "name": "in-1", "type": "individual"}]
    await exchange.push(make_event("create-group", entity="hh", data={"name": "Household", "members": listed}))
    await exchange.run()
    keys = {"in-1": "r-1", "in-2": "r-2"}
    assert {keys[guid] for guid in (await exchange.entity("hh"))["memberIds"]} == there
    await exchange.save("hh", "group", name="Renamed")
    await exchange.run()
    group = remote.find("hh")
    assert group and (group.data["name"], set(group.members or ())) == ("Renamed", there)


async def test_what_is_restored_there_is_restored_here(exchange: Exchange) -> None:
    remote = exchange.remote
    await exchange.save("in-1", name="Ana")
    listed = [{"guid": "in-1", "name": "Ana", "type": "individual"}]
    await exchange.push(make_event("create-group", entity="hh", data={"name": "Household", "members": listed}))
    await exchange.run()
    for is_gone in (True, False):
        for twin in remote.twins.values():
            twin.is_gone = is_gone
            remote.touch(twin)
        await exchange.run()
        assert (await exchange.entity("in-1") is None, await exchange.entity("hh") is None) == (is_gone, is_gone)
    assert (await exchange.entity("in-1"))["name"] == "Ana"
    assert (await exchange.entity("hh"))["memberIds"] == ["in-1"]
    assert counts(await exchange.run()) == (0, 0, 0, 0)
