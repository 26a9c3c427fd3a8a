"""What citizens' requests ask the database: no more for a record with a long history, and by key."""

import pytest
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from tests.citizens import change_citizen
from tests.features.selfservice.conftest import Citizen, MakeCitizen
from tests.statements import hot

pytestmark = pytest.mark.anyio


async def statements_of(hub: Hub, ana: Citizen, path: str) -> list[str]:
    with hub.db.statements.record() as statements:
        assert (await ana.get(path)).status_code == 200
    return hot(statements)


async def test_a_long_history_makes_no_request_dearer(citizen: MakeCitizen, admin: AsyncClient, hub: Hub) -> None:
    ana = await citizen()
    paths = ("entity", "submissions", "access-log", "export")
    for path in paths:
        await ana.get(path)
    few = {path: len(await statements_of(hub, ana, path)) for path in paths}
    for number in range(30):
        await change_citizen(admin, ana.program, ana.guid, village=f"V{number}")
        if number < 15:
            await ana.submit(age=number)
    many = {path: len(await statements_of(hub, ana, path)) for path in paths}
    assert many == few
    assert few["entity"] == 2


async def test_a_submission_costs_the_same_after_many(citizen: MakeCitizen, hub: Hub) -> None:
    ana = await citizen(requireReview=True)
    counted = []
    for number in range(6):
        with hub.db.statements.record() as statements:
            assert (await ana.submit(age=number)).status_code == 200
        counted.append(len(hot(statements)))
    assert len(set(counted)) == 1
