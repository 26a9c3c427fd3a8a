"""How near pushes come to what the database does with the same rows and nobody in between."""

from pathlib import Path
from statistics import median

from bench.client import BenchError
from bench.payload import EventMaker, create_bodies
from bench.replaying import replay
from bench.runner import Bench, push_all
from bench.stats import Samples, rate

_ROUNDS = 3
_DEFAULT_EVENTS = 4000
_PROGRAMS = 8


async def ceiling(bench: Bench) -> None:
    """Pushes to eight programs (--batch), and the bare database with the same rows, in turn; the share of its rate."""
    for batch in bench.options.batch:
        shares = [await _round(bench, batch, number) for number in range(bench.options.rounds or _ROUNDS)]
        meter = bench.meter()
        bench.record(f"ceiling/batch{batch}", meter, share=round(median(shares), 3), shares=shares)


async def _round(bench: Bench, batch: int, number: int) -> float:
    if bench.commands is None:
        raise BenchError("the ceiling needs a hub of its own (--serve)")
    programs = [await bench.client.make_program("ceiling") for _ in range(_PROGRAMS)]
    maker, each = EventMaker(seed=number), max(batch, (bench.options.events or _DEFAULT_EVENTS) // _PROGRAMS)
    dealt = [list(create_bodies(maker, program, total=each, batch=batch)) for program in programs]
    bodies = [body for turn in zip(*dealt, strict=True) for body in turn]
    samples, meter = Samples(), bench.meter()
    run = await push_all(bench, iter(bodies), _PROGRAMS, samples)
    hub = rate(run.events, run.seconds)
    bench.record(
        f"ceiling/batch{batch}/round{number}/hub",
        meter,
        events_per_s=hub,
        check={"acknowledged": run.events, "held": sum([await bench.client.count_entities(one) for one in programs])},
        **samples.summary(),
    )
    environment, meter = bench.commands.environment, bench.meter()
    bare = await replay(environment.get("DATABASE_URL"), Path(environment["DATA_DIR"]), programs, batch=batch)
    bench.record(
        f"ceiling/batch{batch}/round{number}/bare",
        meter,
        events_per_s=bare.events_per_s,
        rows_per_event=round(bare.rows / bare.events, 2),
    )
    for program in programs:
        await bench.client.archive_program(program)
    return round(hub / bare.events_per_s, 3)
