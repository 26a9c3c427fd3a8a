"""The command that simulates devices, clocks, interleavings and crashes against the hub's core."""

from enum import StrEnum
from typing import Annotated

import typer

from datacollect.testing.simulation.rules import Rule
from datacollect.testing.simulation.runner import run


class Engine(StrEnum):
    SQLITE = "sqlite"
    POSTGRES = "postgres"


def simulate(
    seed: Annotated[int, typer.Option(help="The first schedule's seed; the others follow on.")] = 1,
    schedules: Annotated[int, typer.Option(min=1, help="How many schedules to run.")] = 1000,
    engine: Annotated[Engine, typer.Option(help="The database to run them on.")] = Engine.SQLITE,
    rule: Annotated[Rule, typer.Option(help="The hub, or a hub with a built-in fault that must be found.")] = Rule.HUB,
) -> None:
    """Simulate syncs on a database of its own. Ends with 1 and the smallest counter-example if a law breaks."""
    if not run(engine, rule, range(seed, seed + schedules), typer.echo):
        raise typer.Exit(1)
