"""An event in an older layout, through the log: stored as it was sent, applied in the current layout."""

import uuid

import pytest
from httpx2 import AsyncClient

from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.upcasting import Upcaster, Upcasters
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from tests.factories import make_program, pull_all

pytestmark = pytest.mark.anyio

SPLIT = Upcaster(
    "create-individual", 1, 2, lambda data: {"firstName": data["name"].split()[0], "lastName": data["name"].split()[1]}
)


async def test_an_older_event_is_applied_in_the_current_layout_and_delivered_as_it_was_sent(
    hub: Hub, admin: AsyncClient
) -> None:
    program = TenantId(await make_program(admin))
    scope, tenant = system_scope(program), Tenant(program, program)
    log = EventLog(hub.log._store, hub.log._projections, hub.clock, Upcasters([SPLIT]))
    old = Event(str(uuid.uuid4()), "old", "create-individual", {"name": "Ana Lee"}, Millis(1000), "u")
    new = Event(
        str(uuid.uuid4()), "new", "create-individual", {"firstName": "Bo", "lastName": "Ray"}, Millis(2000), "u", 2
    )
    async with hub.db.transaction(scope) as tx:
        await log.append(tx, scope, tenant, [old, new])
    for guid, names in (("old", ("Ana", "Lee")), ("new", ("Bo", "Ray"))):
        data = (await admin.get(f"/api/entities/{guid}", params={"configId": program})).json()["data"]
        assert (data["firstName"], data["lastName"]) == names
    delivered = await pull_all(admin, program)
    assert [(event["data"], event.get("schemaVersion")) for event in delivered] == [
        ({"name": "Ana Lee"}, None),
        ({"firstName": "Bo", "lastName": "Ray"}, 2),
    ]
    async with hub.db.transaction(scope) as tx:
        again = await log.append(tx, scope, tenant, [old])
    assert again.known == 1
