"""A hub and its database are killed in the middle of pushes, again and again: nothing acknowledged is missing.

A few cycles here; `HUB_CRASH_CYCLES=200` or `python -m bench.crash --cycles 200` make it many.
"""

import os
from typing import Any

import pytest

from bench.crash import Ledger, Plan, run
from tests.conftest import ENGINES
from tests.factories import make_event
from tests.launching import forking
from tests.warm import Warm

CYCLES = int(os.environ.get("HUB_CRASH_CYCLES", "2"))


@pytest.mark.anyio
@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
async def test_what_was_acknowledged_survives_kills_once_and_as_it_was_sent(engine: str, warm: Warm) -> None:
    plan = Plan(engine=engine, cycles=CYCLES, devices=4, load_seconds=0.5, launch=forking(warm))
    found = await run(plan)
    assert found.faults == []
    assert found.cycles == sum(found.kills.values()) == CYCLES
    assert found.acknowledged > 0 and found.unanswered_pushes > 0
    assert found.replays == found.verified == -(-CYCLES // plan.cycles_per_program)
    assert set(found.kills) == ({"hub"} if engine == "sqlite" else {"hub", "database"})


def delivered(event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return event | {"syncLevel": 1} | changes


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda first, _: [first], "lost"),
        (lambda first, second: [first, second, first], "doubled"),
        (lambda first, second: [first, second, delivered(make_event())], "invented"),
        (lambda first, second: [first, delivered(second, data={"name": "Eve"})], "changed"),
    ],
)
def test_the_ledger_sees_what_is_wrong(wrong: Any, word: str) -> None:
    ledger, batch = Ledger("p"), [make_event(), make_event()]
    ledger.send(batch)
    ledger.acknowledge(batch)
    first, second = map(delivered, batch)
    assert ledger.faults([first, second]) == []
    assert ledger.faults(wrong(first, second)) == [f"p: 1 {word}"]
