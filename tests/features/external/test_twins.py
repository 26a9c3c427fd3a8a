"""Twins of entities that are merged, deleted and restored, on either side, and of members who join and leave there."""

import pytest

from tests.features.external.exchanging import Exchange

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
