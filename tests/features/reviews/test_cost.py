"""What deciding and looking cost: the same however many reviews there are, and however long a record's history is."""

import pytest
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from tests.factories import make_event, push
from tests.features.reviews.world import World
from tests.statements import hot

pytestmark = pytest.mark.anyio


async def test_statements_do_not_grow(hub: Hub, world: World, admin: AsyncClient) -> None:
    costs = []
    for entity, history in (("few", 2), ("many", 60)):
        await push(admin, world.program, make_event(entity=entity))
        for number in range(history):
            change = make_event("update-individual", entity=entity, data={"age": number})
            await push(admin, world.program, change)
            await world.agent.submitted(make_event())
        late = {"timestamp": "2026-01-01T00:00:00.000Z"}
        change = make_event("update-individual", entity=entity, data={"phone": "1"}) | late
        with hub.db.statements.record() as submitting:
            review = await world.agent.submitted(change)
        with hub.db.statements.record() as listing:
            await world.supervisor.list(limit=50)
        with hub.db.statements.record() as approving:
            await world.supervisor.done(review, "approve")
        costs.append([len(hot(one)) for one in (submitting, listing, approving)])
    assert costs[0] == costs[1]
    submitting_, listing_, approving_ = costs[0]
    assert (submitting_ <= 12, listing_ <= 3, approving_ <= 14) == (True, True, True), costs
