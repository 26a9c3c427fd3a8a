"""What clients send is in order as the hub stores it, however it is written."""

import json
import uuid

import pytest
from httpx2 import AsyncClient

from datacollect.assembly import event_store
from datacollect.db import EVERY_TENANT
from datacollect.eventstore.verification import verify
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.factories import make_event, make_program

pytestmark = pytest.mark.anyio

NUMBERS = "[0, -0, -0.0, 1.0, 1e2, 1e22, 1e-7, 5e-324, 123456789012345678901234567890, 9007199254740993]"
TEXTS = r'["\u00e9", "é", "\ud83d\ude00", "\/", "\u2028", "\u007f", "�"]'


async def test_numbers_texts_and_seeds_verify(admin: AsyncClient, hub: Hub) -> None:
    seed = {"id": str(uuid.uuid4()), "name": "Zoë", "n": 1.0, "large": 1e22, "tiny": 1e-7}
    program = await make_program(admin, entityData=[{"name": "individual", "data": [seed]}])
    data = f'{{"name": "N", "entityName": "individual", "z": {NUMBERS}, "a": {TEXTS}}}'
    wire = [json.dumps(make_event(data="DATA", schemaVersion=2.0)).replace('"DATA"', data) for _ in range(3)]
    body = f'{{"configId": "{program}", "events": [{", ".join(wire)}]}}'
    answer = await admin.post("/api/sync/push", content=body.encode())
    assert answer.status_code == 200, answer.text
    async with hub.db.reading(EVERY_TENANT) as view:
        outcome = await verify(view, event_store(hub.db), system_scope(TenantId(program)))
    assert outcome.finding is None
    assert outcome.sound.position == 4
