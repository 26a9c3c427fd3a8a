"""Scenarios that push: throughput, and what a push costs when much is held already."""

from datetime import UTC, datetime

from bench.payload import Body, EventMaker, create_bodies
from bench.runner import Bench, Store, fill, push_all, store
from bench.stats import Samples, rate

_DEFAULT_EVENTS = 5000
# A cell in which every client sends only once would measure the first request, not the rate.
_REQUESTS_PER_CLIENT = 3


async def push(bench: Bench) -> None:
    """Rate and latency of pushes into empty programs, for each batch size and number of clients."""
    for batch in bench.options.batch:
        for clients in bench.options.concurrency:
            await push_cell(bench, batch, clients, bench.options.tenants)


async def push_cell(bench: Bench, batch: int, clients: int, tenants: int) -> None:
    """One cell: new programs, bodies made beforehand, and a count of what is held at the end."""
    programs = [await bench.client.make_program("push") for _ in range(tenants)]
    bodies = _spread(
        batch, max(bench.options.events or _DEFAULT_EVENTS, _REQUESTS_PER_CLIENT * clients * batch), programs
    )
    samples, meter = Samples(), bench.meter()
    run = await push_all(bench, iter(bodies), clients, samples)
    held = [await bench.client.count_entities(config_id) for config_id in programs]
    bench.record(
        f"push/batch{batch}/clients{clients}/tenants{tenants}",
        meter,
        body_bytes=len(bodies[0].data),
        seconds=round(run.seconds, 3),
        events_per_s=rate(run.events, run.seconds),
        unfinished=run.unfinished,
        check={"offered": sum(body.events for body in bodies), "acknowledged": run.events, "held": sum(held)},
        **samples.summary(),
    )
    for config_id in programs:
        await bench.client.archive_program(config_id)


def _spread(batch: int, total: int, programs: list[str]) -> list[Body]:
    """Full batches for at least `total` events, dealt to the programs in turn."""
    maker, requests = EventMaker(), -(-total // batch)
    return [
        body
        for number in range(requests)
        for body in create_bodies(maker, programs[number % len(programs)], total=batch, batch=batch)
    ]


async def growth(bench: Bench) -> None:
    """Latency of a one-event push when a program holds 0, 10,000 and 50,000 events (--sizes)."""
    sizes = (0,) if bench.options.config else bench.options.sizes
    for size in sizes:
        async with store(bench, size) as filled:
            await growth_cell(bench, filled)


async def growth_cell(bench: Bench, filled: Store) -> None:
    before = await bench.client.count_entities(filled.config_id)
    maker = EventMaker(start=datetime.now(UTC), seed=3)
    bodies = list(create_bodies(maker, filled.config_id, total=bench.options.samples, batch=1))
    samples, meter = Samples(), bench.meter()
    run = await push_all(bench, iter(bodies), 1, samples)
    after = await bench.client.count_entities(filled.config_id)
    bench.record(
        f"growth/held{filled.size}",
        meter,
        events_per_s=rate(run.events, run.seconds),
        check={"before": before, "acknowledged": run.events, "held": after},
        **samples.summary(),
    )


async def seed(bench: Bench) -> None:
    """Fill a program with --events events through the API, keep it and print its id."""
    config_id = await bench.client.make_program("seed")
    meter = bench.meter()
    run = await fill(bench, config_id, bench.held)
    bench.client.keep_program(config_id)
    bench.record(
        f"seed/held{bench.held}",
        meter,
        config_id=config_id,
        seconds=round(run.seconds, 3),
        events_per_s=rate(run.events, run.seconds),
        check={"acknowledged": run.events, "held": await bench.client.count_entities(config_id)},
    )
