"""The work that is sent: events of invented people, as push bodies."""

import random
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from datacollect.eventstore.event import Event
from datacollect.kernel.clock import parse_timestamp

FORM = "individual"
_EXAMPLES = Path(__file__).parents[1] / "examples"
_GIVEN = ("Adaeze", "Bilal", "Carmen", "Dmitri", "Esther", "Farid", "Gloria", "Hassan", "Ines", "Joao", "Kemi", "Lin")
_FAMILY = ("Achieng", "Banda", "Castro", "Dang", "Eto", "Fernando", "Gupta", "Hoang", "Islam", "Jallow", "Kamau")
_PLACES = ("Hilltop", "Lower Ford", "Market Cross", "New Harbour", "Old Mill", "Salt Flats")


@dataclass(frozen=True, slots=True)
class Body:
    """One request's JSON and how many events are in it."""

    data: bytes
    events: int


class EventMaker:
    """Makes events with unique guids, names and numbers; timestamps rise by one millisecond per event.

    The seed decides the names and figures, so two runs send the same amount of text.
    """

    def __init__(self, *, start: datetime | None = None, seed: int = 20) -> None:
        self._random = random.Random(seed)
        self._next = start or datetime.now(UTC) - timedelta(days=30)

    def create(self, entity_guid: str | None = None) -> dict[str, Any]:
        """A `create-individual` event with twelve data fields, about 500 bytes of JSON."""
        return self._event("create-individual", entity_guid or str(uuid.uuid4()), self._person())

    def update(self, entity_guid: str, data: dict[str, Any]) -> dict[str, Any]:
        return self._event("update-individual", entity_guid, data)

    def _event(self, kind: str, entity_guid: str, data: dict[str, Any]) -> dict[str, Any]:
        self._next += timedelta(milliseconds=1)
        return {
            "guid": str(uuid.uuid4()),
            "entityGuid": entity_guid,
            "type": kind,
            "data": data,
            "timestamp": self._next.strftime("%Y-%m-%dT%H:%M:%S.") + f"{self._next.microsecond // 1000:03d}Z",
            "userId": "bench",
            "syncLevel": 0,
        }

    def _person(self) -> dict[str, Any]:
        draw, number = self._random, uuid.uuid4().hex[:10]
        given, family = draw.choice(_GIVEN), draw.choice(_FAMILY)
        return {
            "entityName": FORM,
            "name": f"{given} {family} {number}",
            "givenName": given,
            "familyName": family,
            "birthDate": f"{draw.randrange(1935, 2024)}-{draw.randrange(1, 13):02d}-{draw.randrange(1, 29):02d}",
            "sex": draw.choice(("female", "male")),
            "cardNumber": number,
            "phone": f"+1555{draw.randrange(10_000_000):07d}",
            "email": f"p{number}@example.org",
            "address": f"{draw.randrange(1, 400)} {draw.choice(('Station', 'Church', 'River'))} Road",
            "village": draw.choice(_PLACES),
            "householdSize": draw.randrange(1, 14),
        }


def as_event(wire: Mapping[str, Any]) -> Event:
    """The event as the log takes it, for what is measured in process."""
    return Event(
        guid=wire["guid"],
        entity_guid=wire["entityGuid"],
        type=wire["type"],
        data=wire["data"],
        occurred_at=parse_timestamp(wire["timestamp"]),
        user_id=wire["userId"],
    )


def push_body(events: list[dict[str, Any]], config_id: str) -> Body:
    return Body(msgspec.json.encode({"events": events, "configId": config_id}), len(events))


def create_bodies(maker: EventMaker, config_id: str, *, total: int, batch: int) -> Iterator[Body]:
    """Push bodies of up to `batch` new individuals each, `total` in all; made one at a time, as they are asked for."""
    for begin in range(0, total, batch):
        yield push_body([maker.create() for _ in range(min(batch, total - begin))], config_id)


def program_config(config_id: str, **more: Any) -> bytes:
    """The sample program that takes the events made here, without its seeds: real forms, with fields to search by. `more`
    members stand beside those, or in their place."""
    sample = msgspec.json.decode((_EXAMPLES / "household-registry.json").read_bytes())
    assert FORM in {form["name"] for form in sample["entityForms"]}
    return msgspec.json.encode({**sample, "id": config_id, "name": config_id, "entityData": [], **more})
