"""What a limited caller's batch must have loaded is loaded: parents of records, however far up."""

import pytest

from datacollect.db import EVERY_TENANT
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import Appended
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.kernel.sync_scope import Box, Reach
from datacollect.kernel.tenancy import Tenant
from tests.factories import new_id

pytestmark = pytest.mark.anyio


def event(type: str, entity: str, **data: object) -> Event:
    return Event(new_guid(), entity, type, data, Millis(1_000), "agent")


async def append(hub: Hub, scope: TenantScope, *events: Event) -> Appended:
    async with hub.db.transaction(scope) as tx:
        tenant = Tenant(scope.tenant_id, "Program")
        return await hub.log.append(tx, scope, tenant, events, on_rejection=lambda _: None)


async def test_records_are_judged_by_parents_that_no_event_names(hub: Hub) -> None:
    everywhere = system_scope(TenantId(new_id()))
    async with hub.db.transaction(EVERY_TENANT) as tx:
        await hub.log.create(tx, everywhere)
    for area in ("A", "Z"):
        await append(
            hub,
            everywhere,
            event("create-individual", f"person-{area}", area_id=area),
            event("create-record", f"visit-{area}", parentId=f"person-{area}"),
            event("create-record", f"answer-{area}", parentId=f"visit-{area}"),
        )
    only_a = everywhere.limited_to(Reach((Box(area_ids=frozenset({"A"})),)))
    with hub.db.statements.record() as statements:
        judged = await append(
            hub,
            only_a,
            event("update-record", "answer-A", x=1),
            event("update-record", "answer-Z", x=1),
            event("create-record", "new-A", parentId="answer-A"),
            event("create-record", "new-Z", parentId="answer-Z"),
            event("create-record", "new", parentId="nobody"),
        )
    assert [stored.entity_guid for stored in judged.stored] == ["answer-A", "new-A"]
    assert [(one.event.entity_guid, one.reason.code) for one in judged.rejections] == [
        ("answer-Z", "OUT_OF_SCOPE"),
        ("new-Z", "OUT_OF_SCOPE"),
        ("new", "UNKNOWN_ENTITY"),
    ]
    assert len([sql for sql in statements if "WITH RECURSIVE above (guid, height)" in sql]) == 1
