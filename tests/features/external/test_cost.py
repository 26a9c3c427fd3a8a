"""What an exchange costs does not grow with what it leaves alone, nor by record."""

import pytest

from datacollect.features.entities.links import queries
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.features.external.exchanging import Exchange, counts

pytestmark = pytest.mark.anyio


async def statements_of_run(exchange: Exchange) -> int:
    with exchange.hub.db.statements.record() as sent:
        job_id = await exchange.start()
        job = await exchange.ended(job_id)
    assert job["status"] == "success"
    return sum("external" in text or "entities" in text or "INTO events" in text for text in sent)


async def test_a_batch_costs_the_same_however_many_records_it_has(exchange: Exchange) -> None:
    exchange.remote.page_size = 50
    costs = []
    for size in (1, 3):
        for number in range(size):
            await exchange.save(f"in-{size}-{number}", name="Ana")
            exchange.remote.make({"name": "Ben", "entityName": "individual"})
        costs.append(await statements_of_run(exchange))
    assert costs[0] == costs[1]


async def test_a_run_without_changes_looks_at_no_record(exchange: Exchange) -> None:
    for number in range(6):
        await exchange.save(f"in-{number}", name="Ana")
    await exchange.run()
    with exchange.hub.db.statements.record() as sent:
        assert counts(await exchange.run()) == (0, 0, 0, 0)
    assert not any("INTO external_outcomes" in text for text in sent)
    assert "record in-0" not in exchange.remote.calls[-3:]


@pytest.mark.parametrize(("kind", "index"), [("individual", "ix_entities_type"), (None, "ix_entities_gone")])
async def test_what_changed_is_found_by_an_index_in_its_order(hub: Hub, kind: str | None, index: str) -> None:
    statements = queries._GONE if kind is None else queries._CHANGED_OF_KIND
    values = ["t", 1, "", 9, 10] + ([] if kind is None else [kind])
    scope = system_scope(TenantId("t"))
    async with hub.db.transaction(scope) as tx:
        if hub.db.dialect == "postgresql":
            await tx.run("SET LOCAL enable_seqscan = off")
            await tx.run("SET LOCAL enable_sort = off")
            plan = await tx.fetch(f"EXPLAIN {statements['postgresql']}", *values)
        else:
            plan = await tx.fetch(f"EXPLAIN QUERY PLAN {statements['sqlite']}", *values)
    text = "\n".join(str(tuple(row)) for row in plan)
    assert index in text and "TEMP B-TREE" not in text and "Sort" not in text, text
