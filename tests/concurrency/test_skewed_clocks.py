"""Edits of different fields survive, whoever makes them, at once or one by one, and whatever their clocks say."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.kernel.clock import Millis, format_timestamp, parse_timestamp
from tests.factories import make_event, make_program, push

pytestmark = pytest.mark.anyio

_FIELDS = {f"field{number}": number for number in range(64)}
_DECADE_MS = timedelta(days=3650) // timedelta(milliseconds=1)


def _skewed(random_: random.Random) -> str:
    """A device's idea of now: right, a decade off either way, or from before there were phones."""
    now = parse_timestamp("2026-01-01T00:00:00.000Z")
    return format_timestamp(Millis(random_.choice((now, now + _DECADE_MS, now - _DECADE_MS, 0))))


@pytest.mark.parametrize("at_once", [1, 32])
async def test_all_64_edits_of_64_fields_survive(admin: AsyncClient, at_once: int) -> None:
    program, random_ = await make_program(admin), random.Random(at_once)
    await push(admin, program, make_event(entity="e", data={"name": "Ana"}))
    edits = [
        make_event("update-individual", entity="e", data={field: value}, timestamp=_skewed(random_))
        for field, value in _FIELDS.items()
    ]
    for first in range(0, len(edits), at_once):
        some = edits[first : first + at_once]
        answers = await asyncio.gather(*(push(admin, program, edit) for edit in some))
        assert {answer.status_code for answer in answers} == {200}
    entity: dict[str, Any] = (await admin.get("/api/entities/e", params={"configId": program})).json()
    assert entity["data"] == {"name": "Ana"} | _FIELDS
    conflicts = (await admin.get("/api/conflicts", params={"configId": program})).json()
    assert conflicts == {"conflicts": [], "unresolvedCount": 0, "nextCursor": None}
