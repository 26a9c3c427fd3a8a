"""What goes there, what comes here, and that nothing does so twice."""

import pytest

from tests.features.external.exchanging import Exchange, counts
from tests.factories import make_event

pytestmark = pytest.mark.anyio


async def test_what_was_saved_here_arrives_there_once(exchange: Exchange) -> None:
    for number in range(9):
        await exchange.save(f"in-{number}", name=f"Person {number}")

    first, second = await exchange.run(), await exchange.run()

    assert (first["status"], first["phase"], counts(first)) == ("success", "completed", (9, 0, 0, 0))
    assert (second["status"], counts(second)) == ("success", (0, 0, 0, 0))
    assert sorted(twin.data["name"] for twin in exchange.remote.live.values()) == [f"Person {n}" for n in range(9)]
    assert len(await exchange.events()) == 9


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
