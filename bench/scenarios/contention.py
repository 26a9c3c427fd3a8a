"""Scenarios in which many write at once: does everything that was acknowledged survive?"""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from bench.client import BenchError
from bench.payload import Body, EventMaker, create_bodies, push_body
from bench.runner import Bench, program, push_all
from bench.scenarios.reading import delivered
from bench.stats import Samples, rate

_DEFAULT_EVENTS = 2000
_CLIENTS_PER_PROGRAM = 8


async def hot(bench: Bench) -> None:
    """Updates of one entity, each of a field of its own, by 1, 8 and 32 clients at once: all must survive."""
    for clients in bench.options.concurrency:
        async with program(bench, "hot") as config_id:
            await _hot_cell(bench, config_id, clients)


async def _hot_cell(bench: Bench, config_id: str, clients: int) -> None:
    entity = str(uuid.uuid4())
    answer = await bench.client.push(push_body([EventMaker().create(entity)], config_id))
    if answer.outcome != "200":
        raise BenchError(f"the entity was refused: {answer.outcome}")
    samples, meter = Samples(), bench.meter()
    run = await push_all(bench, _updates(entity, config_id, bench.options.updates), clients, samples)
    # The list, because servers before v2 have no route for one entity.
    found = await bench.client.get_json(f"/api/entities?configId={config_id}&limit=10")
    data: dict[str, Any] = next((one["data"] for one in found if one["guid"] == entity), {})
    survived = sum(data.get(f"field{number}") == number for number in range(bench.options.updates))
    bench.record(
        f"hot/clients{clients}",
        meter,
        events_per_s=rate(run.events, run.seconds),
        check={"acknowledged": run.events, "survived": survived},
        **samples.summary(),
    )


def _updates(entity: str, config_id: str, count: int) -> Iterator[Body]:
    """Made when they are sent, so that each is stamped with that moment, as a device's edit would be."""
    for number in range(count):
        maker = EventMaker(start=datetime.now(UTC))
        yield push_body([maker.update(entity, {f"field{number}": number})], config_id)


async def configs(bench: Bench) -> None:
    """One-event pushes to many programs at once (--configs), eight clients each: all must survive."""
    count = bench.options.configs
    clients = min(256, max(bench.options.concurrency[-1], _CLIENTS_PER_PROGRAM * count))
    programs = [await bench.client.make_program("many") for _ in range(count)]
    maker, total = EventMaker(), bench.options.events or _DEFAULT_EVENTS
    bodies = [body for n in range(total) for body in create_bodies(maker, programs[n % count], total=1, batch=1)]
    samples, meter = Samples(), bench.meter()
    run = await push_all(bench, iter(bodies), clients, samples)
    held = [await bench.client.count_entities(config_id) for config_id in programs]
    pulled = [await delivered(bench, config_id) for config_id in programs]
    bench.record(
        f"configs/programs{count}",
        meter,
        clients=clients,
        events_per_s=rate(run.events, run.seconds),
        check={"acknowledged": run.events, "survived": min(sum(held), sum(pulled))},
        **samples.summary(),
    )
    for config_id in programs:
        await bench.client.archive_program(config_id)
