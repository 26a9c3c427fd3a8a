"""Random histories of a few entities, so that they meet: in groups of groups, late, deleted, created anew."""

import random
from collections.abc import Sequence
from typing import Any

from datacollect.eventstore.event import Event, Origin
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import new_guid

GUIDS = [f"e-{number}" for number in range(9)]
FORMS = ["household", "person", "", None, "größe"]

_AHEAD = 10**14
"""A device's clock that is far ahead of the hub's."""


def event(type: str, entity: str, data: dict[str, Any], at: int = 1_000) -> Event:
    return Event(new_guid(), entity, type, data, Millis(at), "agent")


class Chance:
    """Makes the events of one history."""

    def __init__(self, seed: int | str, guids: Sequence[str] = GUIDS) -> None:
        self._random = random.Random(seed)
        self._guids = guids

    def batch(self) -> list[Event]:
        return [self.event() for _ in range(self._random.randint(1, 6))]

    def origin(self) -> Origin:
        return self._random.choice([Origin.CLIENT] * 8 + [Origin.SEED, Origin.DERIVED])

    def event(self) -> Event:
        pick = self._random.choice
        event_type, data = pick([self._write, self._write, self._group, self._add, self._remove, self._delete])()
        return event(event_type, pick(self._guids), data, self._time())

    def _time(self) -> int:
        """Few enough times that some are equal; now and then one in the future."""
        return _AHEAD if self._random.random() < 0.02 else self._random.randint(1, 300)

    def _fields(self) -> dict[str, Any]:
        some = {
            "name": self._random.choice(["Ana", "Eva", "", None]),
            "entityName": self._random.choice(FORMS),
            "age": self._random.choice([1, 2.5, 2**60, 1.0, "x"]),
            "address": {"zip": "0", "a": [1, {"b": None}]},
        }
        return {key: some[key] for key in self._random.sample(list(some), self._random.randint(1, 4))}

    def _write(self) -> tuple[str, dict[str, Any]]:
        return self._random.choice(["create-individual", "update-record", "update-group"]), self._fields()

    def _member(self, depth: int = 0) -> dict[str, Any]:
        member = {"guid": self._random.choice(self._guids), "n": depth}
        if depth < 2 and self._random.random() < 0.5:
            member |= {"type": "group", "members": [self._member(depth + 1) for _ in range(2)]}
        return member

    def _group(self) -> tuple[str, dict[str, Any]]:
        return "create-group", {"name": "G", "members": [self._member() for _ in range(self._random.randint(0, 2))]}

    def _add(self) -> tuple[str, dict[str, Any]]:
        return "add-member", {"members": [self._member() for _ in range(self._random.randint(1, 2))]}

    def _remove(self) -> tuple[str, dict[str, Any]]:
        return "remove-member", {"memberId": self._random.choice(self._guids)}

    def _delete(self) -> tuple[str, dict[str, Any]]:
        if self._random.random() < 0.5:
            return "resolve-duplicate", {"shouldDelete": self._random.random() < 0.5}
        return "delete-entity", {"reason": "x"}
