"""What an exchange costs does not grow with what it leaves alone, nor by record."""

from dataclasses import dataclass
from typing import Any

import pytest

from datacollect.adapters.port import Incoming, RecordType
from datacollect.features.entities.links import queries
from datacollect.features.external.pushing import Place, Sweep, next_batch
from datacollect.features.external.queries import Marks
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.factories import make_event
from tests.features.external.by_hand import Runner
from tests.features.external.exchanging import Exchange, counts

pytestmark = pytest.mark.anyio


async def statements_of_run(exchange: Exchange, *expected: int) -> list[str]:
    with exchange.hub.db.statements.record() as sent:
        job = await Runner(exchange).run()
    assert job["status"] == "success"
    if expected:
        assert counts(job) == expected
    # Not what is looked up once a second.
    return [text for text in sent if "external" in text or "entities" in text or "INTO events" in text]


def reads_of_entities(sent: list[str]) -> list[str]:
    return [text for text in sent if "JOIN entities" in text or "FROM entities e" in text]


async def test_a_batch_costs_the_same_however_many_records_it_has(exchange_by_hand: Exchange) -> None:
    exchange = exchange_by_hand
    exchange.remote.page_size = 50
    costs = []
    for size in (1, 3):
        for number in range(size):
            await exchange.save(f"in-{size}-{number}", name="Ana")
            exchange.remote.make({"name": "Ben", "entityName": "individual"})
        costs.append(await statements_of_run(exchange, size, size, 0, 0))
    assert len(costs[0]) == len(costs[1])
    assert any("INTO external_outcomes" in text for text in costs[0])


async def test_a_run_without_changes_looks_at_no_record(exchange_by_hand: Exchange) -> None:
    exchange = exchange_by_hand
    for number in range(6):
        await exchange.save(f"in-{number}", name="Ana")
    await statements_of_run(exchange, 6, 0, 0, 0)
    await statements_of_run(exchange)  # what comes back of the first one is known to be that
    exchange.remote.calls.clear()
    sent = await statements_of_run(exchange, 0, 0, 0, 0)
    assert not any("INTO external_outcomes" in text for text in sent)
    assert exchange.remote.calls == ["pull"]


async def test_what_is_told_again_as_it_was_is_read_once_and_not_kept_anew(exchange_by_hand: Exchange) -> None:
    exchange = exchange_by_hand
    again = [
        Incoming(external_id=f"x-{number}", type=RecordType.INDIVIDUAL, data={"name": "Ana"}, version="1")
        for number in range(6)
    ]
    exchange.remote.extra = [*again]
    await statements_of_run(exchange, 0, 6, 0, 0)
    await statements_of_run(exchange)  # nothing of what has come is to be sent
    quiet = await statements_of_run(exchange, 0, 0, 0, 0)
    exchange.remote.extra = [*again]
    sent = await statements_of_run(exchange, 0, 0, 0, 0)
    assert not any("INTO external_outcomes" in text or "INTO external_links" in text for text in sent)
    assert len(reads_of_entities(sent)) == len(reads_of_entities(quiet)) + 1


@dataclass
class Counted:
    """A view, and how many rows it has given."""

    view: Any
    rows: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.view, name)

    async def fetch(self, *statement: Any) -> Any:
        found = await self.view.fetch(*statement)
        self.rows += len(found)
        return found


async def test_of_what_waits_no_more_is_read_than_is_sent_at_once(exchange: Exchange) -> None:
    await exchange.run()
    await exchange.push(*(make_event("update-individual", entity=f"in-{number}") for number in range(180)))
    scope = system_scope(TenantId(exchange.program))
    place = Place(through=1000, sweep=Sweep.WALK)
    async with exchange.hub.db.reading(scope, in_order=True) as view:
        counted: Any = Counted(view)
        batch = await next_batch(
            counted, scope, "s", Marks({}, None), place, run_id=9, at_once=4, now=exchange.hub.clock.now()
        )
    assert len(batch.offers) == 4
    assert counted.rows == 180 + 50


@pytest.mark.parametrize(("kind", "index"), [("individual", "listings"), (None, "ix_entities_gone")])
async def test_what_changed_is_found_by_an_index_in_its_order(exchange: Exchange, kind: str | None, index: str) -> None:
    hub = exchange.hub
    await exchange.push(
        *(make_event(f"update-{('individual', 'group')[number % 2]}", entity=f"e-{number}") for number in range(200))
    )
    statements = queries._GONE if kind is None else queries._CHANGED_OF_KIND
    values = [exchange.program, 1, "", 999, 10] + ([] if kind is None else [kind])
    scope = system_scope(TenantId(exchange.program))
    async with hub.db.transaction(scope) as tx:
        if hub.db.dialect == "postgresql":
            await tx.run("ANALYZE entities")
            await tx.run("SET LOCAL enable_seqscan = off")
            await tx.run("SET LOCAL enable_sort = off")
            plan = await tx.fetch(f"EXPLAIN {statements['postgresql']}", *values)
        else:
            plan = await tx.fetch(f"EXPLAIN QUERY PLAN {statements['sqlite']}", *values)
    text = "\n".join(str(tuple(row)) for row in plan)
    assert index in text and "TEMP B-TREE" not in text and "Sort" not in text, text
